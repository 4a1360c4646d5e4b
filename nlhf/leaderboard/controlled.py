"""Ratings of items at equal length or style of their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.ratings import elo
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.bootstrap import FEWEST
from nlhf.stats.controlled_scores import ControlledScores, controlled
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.separation import separation
from nlhf.votes.formats.table import TIDY
from nlhf.votes.read import Selection, read_table
from nlhf.votes.source import source_of
from nlhf.votes.style import style_differences
from nlhf.votes.table import VoteTable

TWICE = 1 / 3  # the difference (x_a - x_b) / (x_a + x_b) of a text that has twice as much


@dataclass(frozen=True)
class ControlledRatings:
    """Ratings on Elo's scale with covariates, of the items whose ratings are finite.

    Args:
        names: of the k covariates.
        constant: measures in which the texts never differ, which are left out.
        ratings: (n); nan for an item without one.
        ends: their 95% intervals, (2, n).
        wins: the probability that, of two items with equal ratings, the text with twice as much of a covariate wins,
            and its 95% interval, (3, k).
        rows: the number of rows with a vote.
        without_texts: how many of them are left out because they have no two different texts.
    """

    names: tuple[str, ...]
    constant: tuple[str, ...]
    ratings: np.ndarray
    ends: np.ndarray
    wins: np.ndarray
    rows: int
    without_texts: int

    @property
    def lines(self) -> Iterator[str]:
        """The sentences about the covariates."""
        effects = ", ".join(
            f"twice the {name} {value:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")
            for name, value, low, high in zip(self.names, *self.wins, strict=True)
        )
        yield f"Of two texts of items with equal ratings, one wins with this probability if it has: {effects}."
        if self.constant:
            yield f"The texts never differ in {', '.join(self.constant)}."
        if self.without_texts:
            rows = f"{self.without_texts:,} of {self.rows:,} votes"
            yield f"{rows} have no two different texts and do not count in these ratings."


def controlled_ratings(
    file: InputFile, chosen: Selection, items: Sequence[str], names: Sequence[str]
) -> ControlledRatings:
    """The ratings of the items of a file of votes on texts.

    Args:
        file: the file.
        chosen: the votes that count.
        items: n names.
        names: the covariates, keys of `style.MEASURES`.

    Raises: ConfigError for a file without texts or items, and if the covariates have no finite coefficients.
    """
    source = source_of(file, chosen.columns)
    if source.format is None or source.format is TIDY or source.format.votes is None:
        raise ConfigError(f"--control needs votes with items and texts, and {file.name} lacks them: leave it out.")
    table, _ = read_table(source, chosen)
    differences = style_differences(source, table.rows, names)
    complete = ~np.isnan(differences).any(1)
    if not complete.any():
        raise ConfigError(f"--control needs texts, and no vote of {file.name} has two: leave it out.")
    votes, differs = _votes(table.at(complete), chosen.cluster, items), differences[complete].any(0)
    if not differs.any():
        raise ConfigError(f"--control {','.join(names)}: the texts of {file.name} never differ in it: leave it out.")
    covariates = differences[complete][:, differs]
    components = separation(votes.wins)
    part = np.bincount(components.parts, components.core).argmax()
    rated = np.flatnonzero(components.core & (components.parts == part))
    try:
        fit = _fit(votes, covariates, rated)
    except ArithmeticError as error:
        raise ConfigError(f"--control {','.join(names)} has no fit, as {error}: leave out a measure.") from error
    ratings, ends = np.full(len(items), np.nan), np.full((2, len(items)), np.nan)
    ratings[rated] = elo(fit.scores)
    intervals = fit.intervals if votes.units >= FEWEST else np.full_like(fit.intervals, np.nan)
    ends[:, rated] = elo(intervals[:, : len(rated)])
    wins = sigmoid(TWICE * np.vstack([fit.coefficients, intervals[:, len(rated) :]]))
    varied, constant = (tuple(np.array(names)[chosen].tolist()) for chosen in (differs, ~differs))
    return ControlledRatings(varied, constant, ratings, ends, wins, len(table), int((~complete).sum()))


def _votes(table: VoteTable, cluster: Sequence[str], items: Sequence[str]) -> PairedVotes:
    """The rows, one vote or several alike each."""
    index = {item: number for number, item in enumerate(items)}
    numbers = np.array([index.get(item, -1) for item in table.items])
    total = table.wins_a + table.wins_b
    share = np.divide(table.wins_a, total, out=np.full(len(table), 0.5), where=total > 0)
    units = None
    if cluster:
        codes = np.stack([table.columns[name].codes for name in cluster])
        units = np.unique(codes, axis=1, return_inverse=True)[1].ravel()
    return PairedVotes(len(items), numbers[table.a], numbers[table.b], total, share, units, ", ".join(cluster))


def _fit(votes: PairedVotes, covariates: np.ndarray, rated: np.ndarray) -> ControlledScores:
    """The fit to the votes on pairs of rated items.

    Raises: ArithmeticError.
    """
    if not len(rated):
        raise ArithmeticError("no rating is finite")
    numbers = np.full(votes.items, -1)
    numbers[rated] = np.arange(len(rated))
    a, b = numbers[votes.a], numbers[votes.b]
    rows = (a >= 0) & (b >= 0)
    cluster = None if votes.cluster is None else np.unique(votes.cluster[rows], return_inverse=True)[1]
    arrays = {"a": a[rows], "b": b[rows], "votes": votes.votes[rows], "share": votes.share[rows]}
    return controlled(replace(votes, items=len(rated), cluster=cluster, **arrays), covariates[rows])

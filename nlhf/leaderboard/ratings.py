"""Bradley-Terry ratings of the items of a file of votes, with intervals and the ranks that the votes allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from nlhf.games.preference import PreferenceTable
from nlhf.io.tables import listed
from nlhf.stats.cyclic import assumption
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.rank_ranges import rank_ranges
from nlhf.stats.resampled_scores import resampled_interval
from nlhf.stats.scores import Scores, fitted
from nlhf.votes.clusters import values_of
from nlhf.votes.file import Vote

Intervals = Literal["sandwich", "bootstrap"]
ELO = 400 / np.log(10)  # points of a rating for one unit of a score
MEAN = 1000  # of the ratings
MOST_NAMES = 10  # of items in a sentence
BASIS = {"sandwich": "the sandwich variance", "bootstrap": "bootstrap samples"}


def elo(scores: np.ndarray) -> np.ndarray:
    """Ratings on Elo's scale: 400 points are odds of ten to one, and the mean is 1000."""
    return np.asarray(MEAN + ELO * scores)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of n items on Elo's scale; of each connected group of items the finite ones have the mean 1000.

    Args:
        items: names.
        fit: the scores in natural units.
        ends: their 95% intervals, (2, n); nan where there are too few votes or clusters.
        ranks: the first and the last rank that the votes allow each item, for all items together, (2, n).
        intervals: what `ends` are based on.
        assumption: which votes are taken as independent.
    """

    items: tuple[str, ...]
    fit: Scores
    ends: np.ndarray
    ranks: np.ndarray
    intervals: Intervals
    assumption: str

    @property
    def ratings(self) -> np.ndarray:
        """Of each item, (n); infinite if it won or lost every vote, nan if the votes leave it open."""
        return elo(self.fit.scores)

    @property
    def low(self) -> np.ndarray:
        """The lower ends of the 95% intervals, (n)."""
        return elo(self.ends[0])

    @property
    def high(self) -> np.ndarray:
        """The upper ends, (n)."""
        return elo(self.ends[1])

    @cached_property
    def order(self) -> list[int]:
        """The items by first possible rank, then by decreasing rating."""
        return [int(k) for k in np.lexsort((-self.fit.finite, self.ranks.sum(0), self.ranks[0]))]

    @property
    def groups(self) -> list[list[str]]:
        """The items of each connected group, the largest first; ratings of different groups cannot be compared."""
        parts = self.fit.separation.parts
        groups = [[self.items[k] for k in np.flatnonzero(parts == part)] for part in np.unique(parts)]
        return sorted(groups, key=len, reverse=True)

    @property
    def lines(self) -> Iterator[str]:
        """The sentences about the ratings."""
        scores, measured = self.fit.scores, self.fit.measured
        if measured.any():
            yield (
                f"Each rating has a 95% interval from {BASIS[self.intervals]}; the ranks hold for all items together "
                f"with 95% confidence, {self.assumption}."
            )
        if len(self.groups) > 1:
            groups = " and ".join(f"({listed(group, MOST_NAMES)})" for group in self.groups)
            yield f"Ratings of different groups cannot be compared, as no votes connect them: {groups}."
        for value, verb in ((np.inf, "lost"), (-np.inf, "won")):
            if names := self._names(scores == value):
                yield (
                    f"{names}: no finite rating, because other items {verb} every vote that connects them to it. "
                    "The finite end of the interval comes from one further vote, half a win and half a loss."
                )
        if names := self._names(np.isnan(scores)):
            yield f"{names}: the votes leave the rating open, as no chain of wins leads from it, or to it, or both."
        if not measured.any():
            yield "There are too few independent votes or clusters for intervals of ratings."
        elif names := self._names(~measured):
            yield f"{names}: too few votes or clusters for an interval."

    def _names(self, chosen: np.ndarray) -> str:
        return listed([self.items[k] for k in np.flatnonzero(chosen)], MOST_NAMES)


def ratings(items: Sequence[str], votes: PairedVotes, intervals: Intervals = "sandwich") -> Ratings:
    """The ratings of n items. Raises: ArithmeticError for counts that differ too much in size."""
    fit = fitted(votes)
    ends = fit.interval if intervals == "sandwich" else resampled_interval(votes, fit)
    clusters = 0 if votes.cluster is None else votes.units
    return Ratings(tuple(items), fit, ends, rank_ranges(fit), intervals, assumption(clusters, votes.name))


def ratings_of(
    table: PreferenceTable, cast: Sequence[Vote], cluster: Sequence[str] | None, intervals: Intervals
) -> Ratings | None:
    """The ratings of the items of a table of votes with one context; None if counts differ too much in size.

    Args:
        table: the votes.
        cast: the same votes, one by one.
        cluster: columns that name clusters; None if votes are independent.
        intervals: what intervals are based on.
    """
    assert table.wins is not None
    assert table.votes is not None
    if cluster is None:
        votes = PairedVotes.independent(table.wins[0], table.votes[1, 0])
    else:
        votes = clustered_votes(cast, table.items, cluster)
    try:
        return ratings(table.items, votes, intervals)
    except ArithmeticError:
        return None


def clustered_votes(cast: Sequence[Vote], items: Sequence[str], names: Sequence[str]) -> PairedVotes:
    """The votes of the clusters that the columns `names` define."""
    index = {item: number for number, item in enumerate(items)}
    numbers: dict[tuple[str, ...], int] = {}
    cluster = np.array([numbers.setdefault(values_of(vote, names), len(numbers)) for vote in cast])
    a, b, wins_a, wins_b = _columns(cast, index)
    return PairedVotes.clustered(len(items), a, b, np.stack([wins_a, wins_b]), cluster, ", ".join(names))


def _columns(cast: Sequence[Vote], index: Mapping[str, int]) -> tuple[np.ndarray, ...]:
    a, b = (np.array([index[getattr(vote, side)] for vote in cast]) for side in "ab")
    wins_a, wins_b = (np.array([getattr(vote, wins) for vote in cast]) for wins in ("wins_a", "wins_b"))
    return a, b, wins_a, wins_b

"""`python -m nlhf.analysis votes FILE`: what a file of votes shows, before anybody is trained on it.

Pooled over its contexts, and context by context where columns are named for it: the Hodge split and its Bradley-Terry
null, cyclic triples, the Condorcet winner, the support of the Nash equilibrium at beta = 0; and, where the rows tell,
how often two voters of a pair agree and what the item that is shown first gains by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.analysis.votes import Diagnosis, Triple, diagnose
from nlhf.games.votes import COLUMNS, Votes

VOTERS = ("annotator", "voter", "vote", "rater", "worker", "user")  # columns that tell votes on one question apart
SUPPORT = 1e-6  # probability from which an item counts as played
DRAWS, FEW = 2000, 10
MOST_ITEMS = 40  # in a picture
Cast = Sequence[tuple[Mapping[str, str], tuple[str, str, float, float]]]


@dataclass(frozen=True)
class Finding:
    """One preference matrix of n items.

    Args:
        name: of the context, or `all`.
        items: n names.
        preference: P, (n, n).
        number: of votes.
        found: scores, cycles and their null.
        winner: the item that is preferred to all others by strict majority, or None.
        nash: the equilibrium at beta = 0, (n).
    """

    name: str
    items: tuple[str, ...]
    preference: np.ndarray
    number: float
    found: Diagnosis
    winner: str | None
    nash: np.ndarray

    @property
    def triples(self) -> list[Triple]:
        """The cyclic ones."""
        return self.found.triples

    @property
    def support(self) -> list[int]:
        """The items that the equilibrium plays, the likeliest first."""
        return [int(k) for k in np.argsort(-self.nash, kind="stable") if self.nash[k] > SUPPORT]

    @property
    def mixture(self) -> str:
        """The equilibrium in words."""
        return ", ".join(f"{self.items[k]} {self.nash[k]:.3f}" for k in self.support)


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval, and how many cases are behind it."""

    value: float
    low: float
    high: float
    cases: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Ballots:
    """A file of votes.

    Args:
        pooled: over all contexts.
        contexts: one by one, where columns were named.
        agreement: how often two votes on the same pair of the same question say the same; None where no question has
            two.
        position: how often the item that is named first wins, were both items alike: None where no pair is named in
            both orders.
    """

    pooled: Finding
    contexts: list[Finding]
    agreement: Share | None
    position: Share | None

    @property
    def lines(self) -> Iterator[str]:
        """What is to be said of them."""
        yield f"{self.pooled.number:g} votes on {len(self.pooled.items)} items. {self.pooled.found.sentence}"
        winner = self.pooled.winner
        yield f"Condorcet winner: {winner}." if winner else "No Condorcet winner: no item is preferred to all others."
        yield f"Nash equilibrium at beta = 0: {self.pooled.mixture}."
        if self.contexts:
            yield self._of_contexts()
        if self.agreement:
            yield (f"Two votes on the same question and pair agree with probability {self.agreement} "
                   f"({self.agreement.cases:g} pairs of votes).")  # fmt: skip
        if self.position:
            yield (f"The item named first would win {self.position} of the votes between equals, from the pairs that "
                   "are named in both orders: a position bias, if they were shown in that order.")  # fmt: skip

    def _of_contexts(self) -> str:
        count = len(self.contexts)
        cyclic = np.mean([context.found.cyclic for context in self.contexts])
        sizes = np.bincount([len(context.support) for context in self.contexts])
        played = ", ".join(f"{size} in {number}" for size, number in enumerate(sizes) if number)
        triples = np.mean([len(context.triples) for context in self.contexts])
        headless = sum(context.winner is None for context in self.contexts)
        return (f"{count} contexts: {triples:.1f} cyclic triples on average, no Condorcet winner in {headless}, cyclic "
                f"share {cyclic:.2f} on average; items that an equilibrium plays: {played}.")  # fmt: skip


def examine(path: str, context: Sequence[str] = (), where: Mapping[str, Any] | None = None,
            drop: Sequence[str] = ()) -> Ballots:  # fmt: skip
    """What a file of votes shows.

    Raises: ConfigError for bad input, as `game=votes`.
    """
    options: dict[str, Any] = {"path": path, "where": dict(where or {}), "drop": list(drop), "pseudo_count": 0.0,
                               "unseen": "half", "bootstrap": False}  # fmt: skip
    cast = Votes(context=list(context), **options).cast()
    pooled = _findings(Votes(context=[], **options))[0]
    apart = _findings(Votes(context=list(context), **options)) if context else []
    return Ballots(pooled, apart, agreement(cast), position(cast))


def write(ballots: Ballots, path: str, folder: Path) -> Path:
    """Write folder/report.html and its figure; returns the page's path."""
    from nlhf.analysis.figures.games import matrix
    from nlhf.analysis.page import Picture
    from nlhf.analysis.page import write as write_page

    pooled = ballots.pooled
    pictures = []
    if len(pooled.items) <= MOST_ITEMS:
        caption = "By falling Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(list(pooled.items), pooled.preference, pooled.found, Path(path).name)
        pictures.append(Picture("preferences", figure, caption))
    rows = [[context.name, f"{context.number:g}", len(context.triples), f"{context.found.cyclic:.2f}",
             context.winner or "none", context.mixture] for context in ballots.contexts]  # fmt: skip
    return write_page(folder, "votes.html.jinja", pictures, title=Path(path).name, lines=list(ballots.lines), rows=rows,
                      scores=_ranking(pooled))  # fmt: skip


def _ranking(pooled: Finding) -> list[list[str]]:
    """Items by falling Bradley-Terry score: name, score, mean probability of being preferred, share at equilibrium."""
    others = (pooled.preference.sum(1) - 0.5) / (len(pooled.items) - 1)
    return [[pooled.items[k], f"{pooled.found.scores[k]:+.2f}", f"{others[k]:.3f}", f"{pooled.nash[k]:.3f}"]
            for k in np.argsort(-pooled.found.scores, kind="stable")]  # fmt: skip


def _findings(game: Votes) -> list[Finding]:
    table = game.table(np.random.default_rng(0))
    assert table.votes is not None
    return [finding(name, table.items, table.preference[place], table.votes[:, place])
            for place, name in enumerate(table.contexts)]  # fmt: skip


def finding(
    name: str, items: Sequence[str], preference: np.ndarray, votes: np.ndarray | None, noise: np.ndarray | None = None
) -> Finding:
    """What a preference matrix P (n, n) with its votes (2, n, n), their number and that of ties, shows; `noise` is that
    of `diagnose`."""
    beats = (preference > 0.5) | np.eye(len(items), dtype=bool)
    winners = np.flatnonzero(beats.all(1))
    number = float(votes[0].sum() / 2) if votes is not None else float("nan")
    return Finding(name, tuple(items), preference, number, diagnose(preference, votes, noise=noise),
                   items[winners[0]] if len(winners) else None, nash(preference))  # fmt: skip


def nash(preference: np.ndarray) -> np.ndarray:
    """An equilibrium (n) at beta = 0."""
    from nlhf.interface import equilibrium

    return np.asarray(np.exp(equilibrium(preference, beta=0.0).log_policy))


def agreement(cast: Cast) -> Share | None:
    """How often two different votes on a pair of a question agree, a tie being an answer; questions are told apart by
    all columns that name no voter, and the interval is a bootstrap over them, or over pairs where there are few."""
    counts: dict[tuple[str, ...], dict[tuple[str, str], np.ndarray]] = {}
    for record, (a, b, wins_a, wins_b) in cast:
        question = tuple(value for name, value in record.items() if name not in (*COLUMNS, *VOTERS))
        tie = 1.0 if wins_a % 1 == wins_b % 1 == 0.5 else 0.0
        votes = np.array([wins_a - tie / 2, wins_b - tie / 2, tie])
        pair, votes = ((a, b), votes) if a < b else ((b, a), votes[[1, 0, 2]])
        known = counts.setdefault(question, {})
        known[pair] = known.get(pair, 0) + votes
    tables = [np.array(list(pairs.values())) for pairs in counts.values()]
    if len(tables) < FEW:
        tables = [row[None] for table in tables for row in table]
    same = np.array([(table * (table - 1)).sum() / 2 for table in tables])
    couples = np.array([(table.sum(1) * (table.sum(1) - 1)).sum() / 2 for table in tables])
    if couples.sum() < 2:
        return None
    chosen = np.random.default_rng(0).multinomial(len(same), np.full(len(same), 1 / len(same)), DRAWS)
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile((chosen @ same) / (chosen @ couples), (0.025, 0.975))
    return Share(float(same.sum() / couples.sum()), float(low), float(high), float(couples.sum()))


def position(cast: Cast) -> Share | None:
    """The share of the first named item between equals: the mean of its shares in both orders of a pair, pairs weighted
    by how much they tell; the interval is the normal one of independent votes."""
    counts: dict[tuple[str, str], np.ndarray] = {}
    for _, (a, b, wins_a, wins_b) in cast:
        counts[a, b] = counts.get((a, b), 0) + np.array([wins_a, wins_b])
    both = [(pair, counts[pair], counts[pair[::-1]]) for pair in counts if pair[0] < pair[1] and pair[::-1] in counts]
    both = [(pair, there, back) for pair, there, back in both if there.sum() > 0 and back.sum() > 0]
    if not both:
        return None
    numbers = np.array([[there.sum(), back.sum()] for _, there, back in both])
    shares = np.array([[there[0] / there.sum(), back[0] / back.sum()] for _, there, back in both])
    weight = numbers.prod(1) / numbers.sum(1)
    variance = ((shares * (1 - shares) + 0.25 / numbers) / numbers).sum(1) / 4
    value = float(np.average(shares.mean(1), weights=weight))
    error = 1.96 * float(np.sqrt((weight**2 * variance).sum()) / weight.sum())
    return Share(value, value - error, value + error, float(numbers.sum()))

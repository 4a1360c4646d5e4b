"""The confidence set of the Smith set: how often it holds the true one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.stats.smith import possible_smith
from tests.simulations.cell import Cell, Outcome
from tests.simulations.votes import REDRAWS, cast_in_clusters, cast_votes, pooled_votes

STATISTIC = "confidence set of the Smith set"


def of_votes(n: int, votes: int, share: float) -> Callable[[np.random.Generator], Outcome]:
    """Items 0, 1 and 2 are a cycle that beats all others, which are even; each win has this probability."""
    truth = np.full((n, n), 0.5)
    truth[:3, 3:], truth[3:, :3] = share, 1 - share
    for i, j in ((0, 1), (1, 2), (2, 0)):
        truth[i, j], truth[j, i] = share, 1 - share

    def simulate(rng: np.random.Generator) -> Outcome:
        items = possible_smith(*cast_votes(truth, votes, 0.2, rng), redraws=REDRAWS, seed=int(rng.integers(1 << 30)))
        return None if items is None else {0, 1, 2} <= set(items)

    return simulate


def of_even_pair(votes: int) -> Callable[[np.random.Generator], Outcome]:
    """Two even items, both of the Smith set: each proved win is false."""

    def simulate(rng: np.random.Generator) -> Outcome:
        cast = cast_votes(np.full((2, 2), 0.5), votes, 0.2, rng)
        items = possible_smith(*cast, redraws=REDRAWS, seed=int(rng.integers(1 << 30)))
        return None if items is None else len(items) == 2

    return simulate


def of_clusters(n: int, clusters: int, seen: float) -> Callable[[np.random.Generator], Outcome]:
    """All items are even, so that each belongs to the Smith set."""
    truth = np.full((n, n), 0.5)

    def simulate(rng: np.random.Generator) -> Outcome:
        cast = pooled_votes(cast_in_clusters(truth, clusters, 10, seen, 0.9, rng))
        items = possible_smith(*cast, redraws=REDRAWS, seed=int(rng.integers(1 << 30)))
        return None if items is None else len(items) == n

    return simulate


CELLS = [
    *(
        Cell(STATISTIC, f"2 even items, {votes} votes, 20% ties", "coverage", of_even_pair(votes))
        for votes in (10, 200)
    ),
    *(
        Cell(
            STATISTIC,
            f"{n} items, {votes} votes per pair, 20% ties, a cycle of three at {share:g} above the rest",
            "coverage",
            of_votes(n, votes, share),
        )
        for n in (3, 8)
        for votes in (5, 40)
        for share in (0.5, 0.55, 0.7)
    ),
    *(
        Cell(
            STATISTIC,
            f"{n} items, {count} voters of 10 votes on {seen:.0%} of pairs, all even",
            "coverage",
            of_clusters(n, count, seen),
        )
        for n in (3, 8)
        for count, seen in ((8, 1.0), (30, 0.5))
    ),
]

"""Intervals of Bradley-Terry scores and the ranks that votes allow, for models that hold and for cycles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.numerics.bradley_terry import likelihood_scores
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.rank_ranges import rank_ranges
from nlhf.stats.resampled_scores import resampled_interval
from nlhf.stats.scores import Scores, fitted
from nlhf.stats.vote_clusters import Clusters
from tests.simulations.cell import Cell, Outcome
from tests.simulations.votes import cast_in_clusters, cast_votes, matrix_of, spread_scores

SAMPLES = 200
TIES = 0.2
Draw = Callable[[np.random.Generator], PairedVotes]
Holds = Callable[[PairedVotes, Scores, np.ndarray, np.random.Generator], Outcome]


def clustered_votes(clusters: Clusters) -> PairedVotes:
    """The votes of clusters as rows."""
    count, n, _ = clusters.wins.shape
    i, j = np.triu_indices(n, 1)
    cluster, a, b = np.repeat(np.arange(count), len(i)), np.tile(i, count), np.tile(j, count)
    wins = np.stack([clusters.wins[:, i, j].ravel(), clusters.wins[:, j, i].ravel()])
    return PairedVotes.clustered(n, a, b, wins, cluster, clusters.name)


def cycle(n: int, share: float) -> np.ndarray:
    """P (n, n) of items on a circle: each is preferred to the next (n - 1)/2 with this probability."""
    i, j = np.triu_indices(n, 1)
    return matrix_of(n, np.where(j - i <= (n - 1) // 2, share, 1 - share))


def independent(truth: np.ndarray, votes: int) -> tuple[Draw, np.ndarray]:
    """Votes on every pair, and the scores that best fit infinitely many; a share TIES of them are ties."""

    def draw(rng: np.random.Generator) -> PairedVotes:
        preference, (number, ties) = cast_votes(truth, votes, TIES, rng)
        return PairedVotes.independent(preference * number, ties)

    return draw, pseudo_true((1 - TIES) * truth + TIES / 2)


def in_clusters(truth: np.ndarray, clusters: int, votes: int, seen: float) -> tuple[Draw, np.ndarray]:
    """Votes of clusters with strong effects of their own, and the scores that best fit infinitely many."""
    return lambda rng: clustered_votes(cast_in_clusters(truth, clusters, votes, seen, 0.9, rng)), pseudo_true(truth)


def pseudo_true(preference: np.ndarray) -> np.ndarray:
    """The scores that best fit P if every pair has equally many votes."""
    return likelihood_scores(preference * (1 - np.eye(len(preference))))


def of_an_item(votes: PairedVotes, fit: Scores, truth: np.ndarray, rng: np.random.Generator) -> Outcome:
    """Whether the sandwich interval of a random item holds its score."""
    return _holds(fit.interval, truth, rng)


def resampled(votes: PairedVotes, fit: Scores, truth: np.ndarray, rng: np.random.Generator) -> Outcome:
    """Whether the bootstrap interval of a random item holds its score."""
    return _holds(resampled_interval(votes, fit, SAMPLES, int(rng.integers(1 << 31))), truth, rng)


def all_ranks(votes: PairedVotes, fit: Scores, truth: np.ndarray, rng: np.random.Generator) -> Outcome:
    """Whether the ranges hold all ranks of all items; equal items share their ranks."""
    better = truth[:, None] > truth + 1e-9
    first, last = 1 + better.sum(0), len(truth) - better.sum(1)
    low, high = rank_ranges(fit, int(rng.integers(1 << 31)))
    return bool((low <= first).all() and (high >= last).all())


def _holds(interval: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> Outcome:
    item = int(rng.integers(len(truth)))
    low, high = interval[:, item]
    return None if np.isnan(low) else bool(low <= truth[item] <= high)


def study(design: tuple[Draw, np.ndarray], holds: Holds) -> Callable[[np.random.Generator], Outcome]:
    """One study of a design."""
    draw, truth = design

    def simulate(rng: np.random.Generator) -> Outcome:
        votes = draw(rng)
        return holds(votes, fitted(votes), truth, rng)

    return simulate


TRUTHS = {
    "5 items, all even": spread_scores(5, 0.0),
    "5 items, scores within 1": spread_scores(5, 1.0),
    "5 items in a cycle at 0.75": cycle(5, 0.75),
    "12 items, scores within 2": spread_scores(12, 2.0),
    "5 items, half a cycle, half scores within 1": (cycle(5, 0.75) + spread_scores(5, 1.0)) / 2,
}


def designs(votes: tuple[int, ...], voters: tuple[tuple[int, int, float], ...]) -> dict[str, tuple[Draw, np.ndarray]]:
    """Independent votes and voters on every truth."""
    return {
        f"{name}, {number} votes per pair": independent(truth, number)
        for name, truth in TRUTHS.items()
        for number in votes
    } | {
        f"{name}, {count} voters of {number} votes on {seen:.0%} of pairs": in_clusters(truth, count, number, seen)
        for name, truth in TRUTHS.items()
        for count, number, seen in voters
    }


ALL = designs((3, 10, 40), ((8, 10, 1.0), (20, 3, 1.0), (60, 5, 0.2)))
SOME = designs((10,), ((20, 3, 1.0),))  # as resampling takes long
CELLS = [
    *(
        Cell("interval of a Bradley-Terry score", name, "coverage", study(design, of_an_item), quick=60)
        for name, design in ALL.items()
    ),
    *(
        Cell("ranks that votes allow", name, "coverage", study(design, all_ranks), quick=40)
        for name, design in ALL.items()
    ),
    *(
        Cell("bootstrap interval of a Bradley-Terry score", name, "coverage", study(design, resampled), 500, quick=10)
        for name, design in SOME.items()
    ),
]

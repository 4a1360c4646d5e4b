"""Tests and intervals of votes: cycles, transitivity, the Condorcet winner and position bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.leaderboard.position import position
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.condorcet import possible_winners
from nlhf.stats.cyclic import diagnose
from nlhf.stats.transitivity import weak_transitivity
from nlhf.stats.vote_clusters import Clusters
from nlhf.votes.file import Vote
from tests.simulations.cell import Cell, Outcome

REDRAWS = 199
FEW_REDRAWS = 39  # for many items: the fewest that leave a test at 5% its size
Simulate = Callable[[np.random.Generator], Outcome]


def matrix_of(n: int, upper: np.ndarray) -> np.ndarray:
    """P (..., n, n) from its values above the diagonal (..., pairs)."""
    i, j = np.triu_indices(n, 1)
    preference = np.full((*upper.shape[:-1], n, n), 0.5)
    preference[..., i, j], preference[..., j, i] = upper, 1 - upper
    return preference


def spread_scores(n: int, largest: float) -> np.ndarray:
    """P (n, n) of a Bradley-Terry model with evenly spread scores from -largest to largest."""
    scores = np.linspace(-largest, largest, n)
    return sigmoid(scores[:, None] - scores)


def cast_votes(truth: np.ndarray, votes: int, ties: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """P and (votes, ties) of this many votes on every pair, a share of them ties."""
    n = len(truth)
    pairs = truth[np.triu_indices(n, 1)]
    tied = rng.binomial(votes, ties, len(pairs))
    wins = rng.binomial(votes - tied, pairs) + tied / 2
    number = votes * (1 - np.eye(n))
    both = np.triu(np.ones((n, n)), 1)
    both[both > 0] = tied
    return matrix_of(n, wins / votes), np.stack([number, both + both.T])


def cast_in_clusters(
    truth: np.ndarray, clusters: int, votes: int, seen: float, effect: float, rng: np.random.Generator
) -> Clusters:
    """Votes of clusters with mean-zero effects around the truth; each votes on a share `seen` of the pairs."""
    n = len(truth)
    pairs = truth[np.triu_indices(n, 1)]
    moved = pairs + effect * np.minimum(pairs, 1 - pairs) * rng.uniform(-1, 1, (clusters, len(pairs)))
    number = votes * (rng.random(moved.shape) < seen)
    i, j = np.triu_indices(n, 1)
    wins = np.zeros((clusters, n, n))
    wins[:, i, j] = rng.binomial(number, moved)
    wins[:, j, i] = number - wins[:, i, j]
    return Clusters("voter", wins, wins + wins.swapaxes(1, 2))


def pooled_votes(clusters: Clusters) -> tuple[np.ndarray, np.ndarray, Clusters]:
    return clusters.preference, np.stack([clusters.total, np.zeros_like(clusters.total)]), clusters


def _seed(rng: np.random.Generator) -> int:
    """The seed of a study's redraws: with few redraws the size depends on it, and is right on average."""
    return int(rng.integers(1 << 31))


def bradley_terry(n: int, votes: int, largest: float, ties: float = 0.0) -> Simulate:
    """Independent votes of a Bradley-Terry model."""
    truth = spread_scores(n, largest)
    redraws = REDRAWS if n < 12 else FEW_REDRAWS
    return lambda rng: diagnose(*cast_votes(truth, votes, ties, rng), redraws=redraws, seed=_seed(rng)).p <= 0.05


def clustered(n: int, clusters: int, votes: int, seen: float, largest: float) -> Simulate:
    """Votes whose clusters have strong mean-zero effects around a Bradley-Terry model."""
    truth = spread_scores(n, largest)
    return lambda rng: (
        diagnose(
            *pooled_votes(cast_in_clusters(truth, clusters, votes, seen, 0.9, rng)), redraws=REDRAWS, seed=_seed(rng)
        ).p
        <= 0.05
    )


def arena(contestants: int, soft: bool) -> Simulate:
    """Verdicts on 50 prompts, whose strengths of the contestants differ by prompt; all contestants are even."""

    def simulate(rng: np.random.Generator) -> bool:
        strength = rng.normal(0, 0.8, (50, contestants))
        chance = sigmoid(strength[:, :, None] - strength[:, None])
        pairs = chance[:, *np.triu_indices(contestants, 1)]
        wins = matrix_of(contestants, pairs if soft else (rng.random(pairs.shape) < pairs).astype(float))
        played = np.broadcast_to(1 - np.eye(contestants), wins.shape)
        verdicts = Clusters("prompt", wins * played, np.array(played))
        return diagnose(verdicts.preference, None, verdicts, redraws=REDRAWS, seed=_seed(rng)).p <= 0.05

    return simulate


def _path(n: int, neighbours: float) -> np.ndarray:
    """Items of which each beats the next one, and all others are even: the edge of weak transitivity."""
    return matrix_of(n, np.where(np.subtract(*np.triu_indices(n, 1)) == -1, neighbours, 0.5))


def transitivity(n: int, votes: int, neighbours: float) -> Simulate:
    """The test of weak stochastic transitivity."""
    truth = _path(n, neighbours)

    def simulate(rng: np.random.Generator) -> Outcome:
        result = weak_transitivity(*cast_votes(truth, votes, 0.0, rng), redraws=REDRAWS, seed=_seed(rng))
        return None if result is None else result.p <= 0.05

    return simulate


def transitivity_of_clusters(n: int, clusters: int, neighbours: float) -> Simulate:
    """The same for clusters."""
    truth = _path(n, neighbours)

    def simulate(rng: np.random.Generator) -> Outcome:
        pooled = pooled_votes(cast_in_clusters(truth, clusters, 10, 1.0, 0.9, rng))
        result = weak_transitivity(*pooled, redraws=REDRAWS, seed=_seed(rng))
        return None if result is None else result.p <= 0.05

    return simulate


def winner(n: int, votes: int, share: float) -> Simulate:
    """Whether the confidence set holds item 0, which is preferred to each other item with this probability."""
    truth = matrix_of(n, np.where(np.triu_indices(n, 1)[0] == 0, share, 0.5))

    def simulate(rng: np.random.Generator) -> Outcome:
        items = possible_winners(*cast_votes(truth, votes, 0.2, rng), redraws=REDRAWS, seed=_seed(rng))
        return None if items is None else 0 in items

    return simulate


def winner_of_clusters(n: int, clusters: int, seen: float) -> Simulate:
    """The same for clusters, all items even."""
    truth = np.full((n, n), 0.5)

    def simulate(rng: np.random.Generator) -> Outcome:
        items = possible_winners(
            *pooled_votes(cast_in_clusters(truth, clusters, 10, seen, 0.9, rng)), redraws=REDRAWS, seed=_seed(rng)
        )
        return None if items is None else 0 in items

    return simulate


def first_named(voters: int, pairs: int, votes: int, effect: float) -> Simulate:
    """The interval of position bias, for voters with mean-zero biases of their own."""

    def simulate(rng: np.random.Generator) -> Outcome:
        strength, cast = rng.uniform(-0.2, 0.2, pairs), []
        for voter in range(voters):
            bias = effect * rng.uniform(-1, 1)
            for pair in range(pairs):
                for names, sign in ((("a", "b"), 1), (("b", "a"), -1)):
                    wins = float(rng.binomial(votes, 0.5 + bias + sign * strength[pair]))
                    items = [f"{name}{pair}" for name in names]
                    cast.append(Vote({"voter": str(voter)}, items[0], items[1], wins, votes - wins, 0.0))
        estimate = position(cast, ["voter"])
        return None if estimate is None or np.isnan(estimate.low) else bool(estimate.low <= 0.5 <= estimate.high)

    return simulate


TEST = "Bradley-Terry test of cycles"
QUICK = 30  # studies in the tests of cells that take long
CELLS = [
    *(
        Cell(
            TEST,
            f"{n} items, {votes} votes per pair, {'all even' if not largest else f'scores within {largest:g}'}",
            "size",
            bradley_terry(n, votes, largest),
            4000 if n < 20 else 1000,
            quick=QUICK,
        )
        for n in (3, 5, 8, 12, 20)
        for votes in (3, 10, 40)
        for largest in (0.0, 2.0)
        if n < 12 or (votes == 10) == (largest > 0)
    ),
    *(
        Cell(
            TEST,
            f"{n} items, 10 votes per pair, 30% ties, {name}",
            "size",
            bradley_terry(n, 10, largest, 0.3),
            4000,
            quick=QUICK,
        )
        for n in (5, 12)
        for name, largest in (("all even", 0.0), ("scores within 1", 1.0))
    ),
    *(
        Cell(
            TEST,
            f"{n} items, {count} voters of {votes} votes on {seen:.0%} of pairs, scores within {largest:g}",
            "size",
            clustered(n, count, votes, seen, largest),
            quick=QUICK,
        )
        for n in (3, 5, 12)
        for count, votes, seen in ((8, 20, 1.0), (20, 3, 1.0), (60, 5, 0.2))
        for largest in (0.0, 2.5)
    ),
    *(
        Cell(TEST, f"{n} contestants on 50 prompts, {'soft' if soft else 'hard'} verdicts", "size", arena(n, soft))
        for n in (6, 12)
        for soft in (False, True)
    ),
    *(
        Cell(
            "test of weak stochastic transitivity",
            f"{n} items, {votes} votes per pair, neighbours at {share:g}, others even",
            "size",
            transitivity(n, votes, share),
        )
        for n in (3, 5, 8)
        for votes in (10, 40)
        for share in (0.5, 0.7, 0.99)
    ),
    *(
        Cell(
            "test of weak stochastic transitivity",
            f"{n} items, {count} voters of 10 votes, neighbours at {share:g}, others even",
            "size",
            transitivity_of_clusters(n, count, share),
        )
        for n in (3, 5)
        for count in (8, 30)
        for share in (0.5, 0.95)
    ),
    *(
        Cell(
            "confidence set of the Condorcet winner",
            f"{n} items, {votes} votes per pair, the winner at {share:g}",
            "coverage",
            winner(n, votes, share),
        )
        for n in (3, 8, 20)
        for votes in (3, 40)
        for share in (0.5, 0.6)
    ),
    *(
        Cell(
            "confidence set of the Condorcet winner",
            f"{n} items, {count} voters of 10 votes on {seen:.0%} of pairs, all even",
            "coverage",
            winner_of_clusters(n, count, seen),
        )
        for n in (3, 8)
        for count, seen in ((8, 1.0), (30, 0.5))
    ),
    *(
        Cell(
            "interval of position bias",
            f"{voters} voters of {votes} votes on each of {pairs} pairs, biases within {effect:g}",
            "coverage",
            first_named(voters, pairs, votes, effect),
            1000,
        )
        for voters, pairs, votes in ((6, 3, 10), (20, 3, 3), (40, 1, 1))
        for effect in (0.0, 0.2)
    ),
]

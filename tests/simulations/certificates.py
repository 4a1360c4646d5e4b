"""What votes prove if they are alike in clusters, and what an arena proves that chooses its pairs by the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nlhf.arena.intervals import exploitability_bounds, pair_intervals
from nlhf.arena.meetings import Meetings, units_of_prompts
from nlhf.leaderboard.proof import Proof, proof, proof_of_units
from nlhf.leaderboard.units import units_of
from nlhf.votes.file import Vote
from tests.asking_games import random
from tests.simulations.cell import Cell, Outcome

ITEMS = ("a", "b", "c")
PAIRS = ((0, 1), (0, 2), (1, 2))
Simulate = Callable[[np.random.Generator], Outcome]
Won = dict[tuple[str, str], dict[int, list[float]]]


def holds(certificates: Proof | None, preference: np.ndarray, kind: str) -> bool:
    """True if the bounds of a kind hold for the best certified policy, every pair, and every item."""
    assert certificates is not None
    certified = certificates.once if kind == "once" else certificates.anytime
    advantage = preference - 0.5
    return bool(
        (certified.bounds.upper >= advantage - 1e-12).all()
        and (advantage @ certified.policy).max() <= certified.exploitability + 1e-12
        and (advantage.max(0) <= certified.items + 1e-12).all()
    )


def alike(chance: float, strength: float, rng: np.random.Generator) -> float:
    """What a cluster prefers: a draw with mean `chance`; of a small `strength` it is close to 0 or 1."""
    return float(rng.beta(chance * strength, (1 - chance) * strength))


def cast_alike(
    preference: np.ndarray, clusters: int, sizes: Sequence[int], seen: float, strength: float, rng: np.random.Generator
) -> list[Vote]:
    """Votes of voters: each votes on a share of the pairs, as often as one of `sizes`, and its votes are alike."""
    votes = []
    for voter in range(clusters):
        likes = float(rng.random())  # shared by all pairs of a voter
        for i, j in PAIRS:
            chance = preference[i, j]
            if rng.random() >= seen:
                continue
            share = float(likes < chance) if strength == 0 else alike(chance, strength, rng)
            number = int(rng.choice(sizes))
            wins = float(rng.binomial(number, share))
            votes.append(Vote({"voter": str(voter)}, ITEMS[i], ITEMS[j], wins, number - wins, 0.0))
    return votes


def of_clusters(clusters: int, sizes: Sequence[int], seen: float, strength: float, kind: str) -> Simulate:
    """The bounds of clusters, as `nlhf votes show FILE --cluster voter` gives them."""

    def simulate(rng: np.random.Generator) -> bool:
        preference = random(len(ITEMS), rng)
        votes = cast_alike(preference, clusters, sizes, seen, strength, rng)
        return holds(proof_of_units(ITEMS, units_of(votes, ITEMS, ["voter"])), preference, kind)

    return simulate


def as_independent(clusters: int, sizes: Sequence[int], kind: str) -> Simulate:
    """The bounds without --cluster, of the votes of unanimous voters."""

    def simulate(rng: np.random.Generator) -> bool:
        preference = random(len(ITEMS), rng)
        wins = np.zeros((len(ITEMS), len(ITEMS)))
        for vote in cast_alike(preference, clusters, sizes, 1.0, 0, rng):
            i, j = ITEMS.index(vote.a), ITEMS.index(vote.b)
            wins[i, j] += vote.wins_a
            wins[j, i] += vote.wins_b
        return holds(proof(ITEMS, wins, np.stack([wins + wins.T, np.zeros_like(wins)])), preference, kind)

    return simulate

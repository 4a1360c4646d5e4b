"""What votes prove that are alike within clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.arena.meetings import RULE
from nlhf.asking.base import next_batch
from nlhf.leaderboard.proof import Proof, proof, proof_of_units
from nlhf.leaderboard.units import units_of
from nlhf.votes.file import Vote
from tests.asking_games import random
from tests.simulations.cell import Cell, Outcome

ITEMS = ("a", "b", "c")
PAIRS = ((0, 1), (0, 2), (1, 2))
Simulate = Callable[[np.random.Generator], Outcome]


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
    preference: np.ndarray,
    clusters: int,
    sizes: tuple[int, ...],
    seen: float,
    strength: float,
    rng: np.random.Generator,
) -> list[Vote]:
    """Votes of voters, alike within each, on a share of the pairs; they vote more often where they prefer the first."""
    votes = []
    for voter in range(clusters):
        likes = float(rng.random())  # shared by all pairs of a voter
        for i, j in PAIRS:
            chance = preference[i, j]
            if rng.random() >= seen:
                continue
            share = float(likes < chance) if strength == 0 else alike(chance, strength, rng)
            number = sizes[min(int(share * len(sizes)), len(sizes) - 1)]
            wins = float(rng.binomial(number, share))
            votes.append(Vote({"voter": str(voter)}, ITEMS[i], ITEMS[j], wins, number - wins, 0.0))
    return votes


def of_clusters(clusters: int, sizes: tuple[int, ...], seen: float, strength: float, kind: str) -> Simulate:
    """The bounds of clusters, as `nlhf votes show FILE --cluster voter` gives them."""

    def simulate(rng: np.random.Generator) -> bool:
        preference = random(len(ITEMS), rng)
        votes = cast_alike(preference, clusters, sizes, seen, strength, rng)
        return holds(proof_of_units(ITEMS, units_of(votes, ITEMS, ["voter"])), preference, kind)

    return simulate


def as_independent(clusters: int, sizes: tuple[int, ...], kind: str) -> Simulate:
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


VOTERS, TARGET, MOST = 12, 0.2, 400


def asked_again(rng: np.random.Generator) -> bool:
    """Asking until a target with few voters, each with a preference of its own on each pair, who vote again."""
    preference = random(len(ITEMS), rng)
    likes = np.vectorize(lambda chance: alike(chance, 2.0, rng))(np.broadcast_to(preference, (VOTERS, 3, 3)))
    votes: list[Vote] = []
    while True:
        wins, number = units_of(votes, ITEMS, ["voter"]).table(len(ITEMS))
        bounds, policy, value = RULE.certified(wins, number)
        gains = (preference - 0.5) @ policy
        if (bounds.upper < preference - 0.5 - 1e-12).any() or gains.max() > value + 1e-12:
            return False
        if value <= TARGET or len(votes) >= MOST:
            return True
        asked = RULE.numbers(wins, number, next_batch(len(votes)), rng)
        for i, j in np.argwhere(asked):
            for voter in rng.integers(VOTERS, size=asked[i, j]):
                won = float(rng.random() < likes[voter, i, j])
                votes.append(Vote({"voter": str(voter)}, ITEMS[i], ITEMS[j], won, 1 - won, 0.0))


CLUSTERED = "certified exploitability of clustered votes"
DESIGNS = {  # clusters, votes of each on a pair, share of the pairs that each sees, strength
    "6 voters of 1 to 50 votes on all pairs, each unanimous": (6, (1, 5, 50), 1.0, 0.0),
    "20 voters of 1 to 50 votes on 50% of pairs, strongly alike": (20, (1, 5, 50), 0.5, 0.5),
    "150 voters of 1 to 50 votes on all pairs, each unanimous": (150, (1, 5, 50), 1.0, 0.0),
    "150 voters of 3 votes on 20% of pairs, weakly alike": (150, (3,), 0.2, 5.0),
}
ALIKE = "These bounds take votes as independent, also those of one voter."
CELLS = [
    *(
        Cell(f"{CLUSTERED}, {kind}", setting, "coverage", of_clusters(*design, kind), quick=30)
        for kind in ("once", "any time")
        for setting, design in DESIGNS.items()
    ),
    *(
        Cell(
            f"{CLUSTERED}, {kind}",
            "20 voters of 1 to 50 votes, each unanimous, without --cluster",
            "coverage",
            as_independent(20, (1, 5, 50), kind),
            1000,
            ALIKE,
            quick=20,
        )
        for kind in ("once", "any time")
    ),
    Cell(
        f"{CLUSTERED}, asking until a target",
        f"{VOTERS} voters who vote again, target {TARGET}",
        "coverage",
        asked_again,
        1000,
        quick=20,
    ),
]

"""Games on which asking rules are compared, and how many votes they need for a certificate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.asking.base import AskingRule, next_batch
from nlhf.asking.certified import CERTIFIED
from nlhf.asking.simulate import Stop, ask_until
from nlhf.asking.uniform import UniformRule
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.certified import VoteBounds

SCALE = 1.5  # standard deviation of Bradley-Terry scores
STRONG = 0.7  # probability of a majority in a cycle, and against a dominated item


def bradley_terry(n: int, rng: np.random.Generator) -> np.ndarray:
    """Preferences from normal scores."""
    scores = SCALE * rng.standard_normal(n)
    return sigmoid(scores[:, None] - scores)


def random(n: int, rng: np.random.Generator) -> np.ndarray:
    """Preferences drawn uniformly."""
    above = np.triu(rng.random((n, n)), 1)
    return above + np.tril(1 - above.T, -1) + 0.5 * np.eye(n)


def cycle(n: int, rng: np.random.Generator) -> np.ndarray:
    """A cycle of three above n - 3 items that lose to it."""
    preference = np.full((n, n), 0.5)
    preference[:3, 3:], preference[3:, :3] = STRONG, 1 - STRONG
    preference[[0, 1, 2], [1, 2, 0]], preference[[1, 2, 0], [0, 1, 2]] = STRONG, 1 - STRONG
    return preference


def regular(n: int, rng: np.random.Generator) -> np.ndarray:
    """Each item beats the next (n - 1)/2 on a circle: every item is in the equilibrium; n is odd."""
    ahead = (np.arange(n) - np.arange(n)[:, None]) % n
    return np.where(ahead == 0, 0.5, np.where(ahead <= n // 2, STRONG, 1 - STRONG))


GAMES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "Bradley-Terry": bradley_terry,
    "random": random,
    "cycle of three": cycle,
    "all in the equilibrium": regular,
}


def once(wins: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, float]:
    """The best policy by the bound for one look, as if the numbers of votes had been fixed in advance."""
    return VoteBounds.once(wins, votes, CERTIFIED.delta, ties=False).best()


def anytime(wins: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, float]:
    """The best policy by the bound for any time."""
    _, policy, value = CERTIFIED.certified(wins, votes)
    return policy, value


WAYS: dict[str, tuple[AskingRule, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]]] = {
    "uniform, one look": (UniformRule(), once),
    "uniform": (UniformRule(), anytime),
    "asking": (CERTIFIED, anytime),
}


def needed(game: str, n: int, way: str, seed: int, target: float = 0.05) -> tuple[Stop, float]:
    """Where asking stops on the game of a seed, and the true exploitability of the certified policy.

    Uniform numbers are looked at after every tenth more votes, which costs less than batches of a rule's size.
    """
    rng = np.random.default_rng(seed)
    preference = GAMES[game](n, rng)
    rule, certify = WAYS[way]
    batch = next_batch if way == "asking" else lambda votes: max(20, round(votes / 10))
    stop = ask_until(target, preference, rule, certify, rng, batch=batch)
    return stop, max(float(((preference - 0.5) @ stop.policy).max()), 0.0)

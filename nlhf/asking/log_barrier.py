"""Asks as the log-barrier equilibrium of the estimated game plays (arXiv:2605.09363).

At t votes, p is the equilibrium of the estimated advantages A^ with the barrier mu = barrier/sqrt(t),

    p_y (n mu - (A^ p)_y) = mu,

a point of the central path of nlhf/equilibria/interior.py. Both items of a pair are drawn from p; pairs of an item with
itself are drawn again. The game is solved anew for every batch. The constant is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.asking.base import AskingRule
from nlhf.config import ConfigError

ITERATIONS = 100
ACCURACY = 1e-6  # of p s = mu, relative
SHRINK = 0.2  # of mu in an iteration, at most
CLOSE = 0.9  # of the longest feasible step


@dataclass(frozen=True)
class LogBarrierRule(AskingRule):
    """Draws both items of each pair from the log-barrier equilibrium of the estimated game.

    Args:
        barrier: of the first vote, > 0; it falls as 1/sqrt(votes).
    """

    barrier: float

    sources = ("2605.09363",)

    def __post_init__(self) -> None:
        if not 0 < self.barrier < float("inf"):
            raise ConfigError(
                f"algorithm.rule.barrier={self.barrier} is out of range: give a positive number such as 0.3."
            )

    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        estimate = np.where(votes > 0, wins / np.maximum(votes, 1) - 0.5, 0.0)
        policy = barrier_equilibrium(estimate, self.barrier / np.sqrt(max(1.0, votes.sum() / 2)))
        rows, columns = np.triu_indices(len(votes), 1)
        chance = policy[rows] * policy[columns]
        numbers = np.zeros(votes.shape, np.int64)
        numbers[rows, columns] = rng.multinomial(batch, chance / chance.sum())
        return numbers


def barrier_equilibrium(advantage: np.ndarray, barrier: float) -> np.ndarray:
    """The p (n) with p_y (n barrier - (A p)_y) = barrier, by Newton steps along the central path.

    Args:
        advantage: A (n, n), skew-symmetric.
        barrier: > 0.
    """
    n = len(advantage)
    policy = np.full(n, 1 / n)
    gain = advantage @ policy
    margin = gain.max() - gain + np.ptp(gain) + barrier
    for _ in range(ITERATIONS):
        product = policy * margin
        if np.abs(product / barrier - 1).max() < ACCURACY:
            break
        change = np.maximum(SHRINK * product.mean(), barrier) / policy - margin  # of p s, over p
        ratio = margin / policy
        first, ones = np.linalg.solve(np.diag(ratio) - advantage, np.column_stack([change, np.ones(n)])).T
        step = first - ones * (first.sum() / ones.sum())
        slope = change - ratio * step
        longest = max(1.0, float((-step / policy).max() / CLOSE), float((-slope / margin).max() / CLOSE))
        policy, margin = policy + step / longest, margin + slope / longest
    return np.asarray(policy / policy.sum())

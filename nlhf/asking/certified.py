"""Asks about the pairs whose votes lower the certified exploitability most.

Let pi be the policy with the smallest certified exploitability, and y an opponent whose bound is close to the largest.
A vote on y and j lowers the bound of y by about

    pi_j width_yj / (2 N)                              where the bound of pairs is the smaller one,
    sqrt(chi_y) pi_j^2 (N + 2 rho)/(2 N^3 sqrt(v_y))   where the bound of mixtures is, v_y = sum_j pi_j^2 (N + rho)/N^2.

The value of a pair adds both directions. The new votes bring N close to a multiple of N value^power: at a power of 2/3
the values of all pairs would be equal after one batch if the first formula were exact. A heuristic; the bounds hold
whatever it asks.
See docs/mathematics.md, "What votes prove".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nlhf.asking.base import AskingRule, filled
from nlhf.config import ConfigError
from nlhf.stats.certified import RHO, VoteBounds


class Certificate(NamedTuple):
    """What votes prove: the bounds, the policy (n) with the smallest certified exploitability, and that value."""

    bounds: VoteBounds
    policy: np.ndarray
    exploitability: float


@dataclass(frozen=True)
class CertifiedRule(AskingRule):
    """Asks about the pairs whose votes lower the certified exploitability most.

    Args:
        delta: the bounds hold with probability 1 - delta.
        first: votes that every pair gets before any other choice.
        near: opponents whose bound is smaller than the largest by at most this part of it count.
        power: of the value of a pair, in the weight that its votes are filled up to.
        clustered: True uses the bound of pairs alone, which allows that votes on different pairs are alike.
    """

    delta: float
    first: int
    near: float
    power: float
    clustered: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ConfigError(f"algorithm.rule.delta={self.delta} is out of range: give a probability between 0 and 1.")
        if self.first < 1:
            raise ConfigError(
                f"algorithm.rule.first={self.first} is too small: give each pair 1 vote or more to begin with."
            )
        if not 0 <= self.near < 1:
            raise ConfigError(
                f"algorithm.rule.near={self.near} is out of range: give a part of the largest bound, in [0, 1)."
            )
        if not 0 < self.power < float("inf"):
            raise ConfigError(f"algorithm.rule.power={self.power} is out of range: give a positive number such as 0.6.")

    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        missing = np.ceil(np.triu(np.maximum(self.first - votes, 0), 1)).astype(np.int64)
        if missing.sum() >= batch:
            return filled(votes, missing > 0, batch, rng)
        counted = np.maximum(votes + missing + missing.T, self.first)
        weights = counted * self.values(wins, votes) ** self.power
        further = filled(votes + missing + missing.T, weights, batch - int(missing.sum()), rng)
        return np.asarray(missing + further)

    def certified(self, wins: np.ndarray, votes: np.ndarray) -> Certificate:
        """The bounds that the rule lowers, and the best policy under them."""
        return certificate(wins, votes, self.delta, self.clustered)

    def values(self, wins: np.ndarray, votes: np.ndarray) -> np.ndarray:
        """By how much one vote on each pair lowers the certified exploitability, about, (n, n), symmetric."""
        bounds, policy, _ = self.certified(wins, votes)
        number = np.maximum(votes, self.first)
        value = policy * (bounds.upper - bounds.lower) / (2 * number)
        if bounds.spread is not None:
            of_mixture = bounds.of_mixture(policy)
            root = np.sqrt(bounds.spread @ policy**2)[:, None]
            slope = bounds.spread * policy**2 * (number + 2 * RHO) / (number + RHO) / number
            smaller = (bounds.upper @ policy <= of_mixture)[:, None]
            value = np.where(smaller, value, slope / (2 * np.maximum(root, 1e-300)))
        gains = bounds.gains(policy)
        value[gains < (1 - self.near) * gains.max()] = 0.0
        np.fill_diagonal(value, 0.0)
        total: np.ndarray = value + value.T
        return total


def certificate(wins: np.ndarray, votes: np.ndarray, delta: float, clustered: bool = False) -> Certificate:
    """What votes prove with probability 1 - delta, at any time."""
    won, cast = (np.asarray(table, dtype=float).tobytes() for table in (wins, votes))
    return _certificate(won, cast, len(wins), delta, clustered)


@lru_cache(maxsize=64)
def _certificate(wins: bytes, votes: bytes, n: int, delta: float, clustered: bool) -> Certificate:
    """`certificate` of the bytes of tables. Those of all seeds and contexts are computed before the rule needs them."""
    won, cast = (np.frombuffer(table).reshape(n, n) for table in (wins, votes))
    bounds = VoteBounds.anytime(won, cast, delta, separate=clustered)
    return Certificate(bounds, *bounds.best())


CERTIFIED = CertifiedRule(delta=0.05, first=4, near=0.15, power=0.6)  # the rule of the commands

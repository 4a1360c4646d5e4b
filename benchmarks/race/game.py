"""Games of the race, and how contestants report the policies that they reach."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Looks = Iterator[tuple[float, np.ndarray]]  # seconds and a policy (n)


@dataclass(frozen=True)
class Game:
    """Advantages (n, n) = P - 1/2, the strength of the KL term to the uniform reference, and the limit in seconds."""

    advantage: np.ndarray
    beta: float
    seconds: float

    def exploitability(self, policy: np.ndarray) -> float:
        """The largest regularised gain against a policy (n), in float64 by definition; infinite if it is invalid."""
        policy = np.maximum(np.asarray(policy, np.float64), 0)
        total = policy.sum()
        if not 0 < total < np.inf:
            return np.inf
        policy, n = policy / total, len(policy)
        gain = self.advantage @ policy
        if self.beta == 0:
            return float(max(gain.max(), 0))
        response = gain / self.beta
        response -= response.max() + np.log(np.exp(response - response.max()).sum())
        positive = policy > 0
        gap = np.log(policy, where=positive, out=np.full(n, -np.inf)) - response
        small = np.abs(gap) < 1  # the KL divergence from the best response, as a sum of terms that are all positive
        terms = np.exp(response)
        terms[positive] += policy[positive] * (gap[positive] - 1)
        terms[small] = policy[small] * (gap[small] + np.expm1(-gap[small]))
        return float(self.beta * terms.sum())


def tournament(actions: int) -> np.ndarray:
    """Advantages (n, n), uniform in [-1/2, 1/2] above the diagonal."""
    upper = np.triu(np.random.default_rng(0).random((actions, actions)) - 0.5, 1)
    return upper - upper.T


def looped(step: Callable[[], object], policy: Callable[[], np.ndarray]) -> Looks:
    """The policy after iterations 1, 2, 3, ..., and from the 30th on after every 3% more of them."""
    clock, due = 0.0, 1
    for iteration in itertools.count(1):
        started = time.perf_counter()
        step()
        clock += time.perf_counter() - started
        if iteration >= due:
            due = max(iteration + 1, int(iteration * 1.03))
            yield clock, policy()


def timed(solve: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds and the policy of one call."""
    started = time.perf_counter()
    policy = solve()
    return time.perf_counter() - started, policy

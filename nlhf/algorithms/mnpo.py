"""MNPO: online mirror descent against, and from, the last policies (arXiv:2509.23102).

    opponent = (pi_k + ... + pi_{k-h+1})/h,   anchor ∝ (pi_k ... pi_{k-h+1})^(1/h),   h = `history`
    pi_{k+1} = prox(opponent, anchor, lambda)

One query per iteration. The first iterations average the policies so far. With h = 1 it is online mirror descent
(INPO). Its only fixed point is the equilibrium, and no rate is proved for h > 1. Averaging delays the dynamics by
(h - 1)/2 iterations. For small beta that divides the rate per iteration by (h + 1)/2 and multiplies the longest stable
step by 3 (h + 1)/(2 (h + 2)) < 1.5 only; optimism, which extrapolates, gains far more.
See docs/mathematics.md, "Averages over the last policies".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, CountingState, Policy, Prox, Tensor, TrainablePolicy
from nlhf.algorithms.omd import MirrorDescentRate
from nlhf.policies.mixture import ArithmeticMixture, GeometricMixture


@dataclass(frozen=True)
class MNPOState(CountingState):
    """The policy, and the h - 1 policies before it by their age."""

    older: dict[str, TrainablePolicy]


@dataclass(frozen=True)
class MNPO(MirrorDescentRate):
    """Online mirror descent with averages of the last policies.

    Args:
        history: h, the number of policies in the averages.
    """

    history: int

    sources = ("2509.23102", "2407.00617")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.history < 1:
            raise ConfigError(f"algorithm.history={self.history} is too small: give 1 or more.")

    def init(self, policy: TrainablePolicy) -> MNPOState:
        ages = range(1, self.history)
        return MNPOState(policy, policy.per_seed(), older={str(age): policy for age in ages})

    def update(self, state: MNPOState, prox: Prox) -> MNPOState:
        pi, policies = state.policy, (state.policy, *state.older.values())
        opponent, anchor = _averages(policies, state.iteration)
        new = prox(opponent=opponent, anchor=anchor, step_size=self.step_size, start=pi)
        older = dict(zip(state.older, policies, strict=False))
        return MNPOState(new, state.iteration + 1, older=older)

    def cycling(self, beta: float, unit: float = 1.0) -> str | None:
        return super().cycling(beta * 3 * (self.history + 1) / (2 * (self.history + 2)), unit)

    def contraction(self, beta: Tensor) -> Tensor:
        return super().contraction(beta) if self.history == 1 else beta.new_full(beta.shape, math.nan)


def _averages(policies: tuple[TrainablePolicy, ...], iteration: Tensor) -> tuple[Policy, Policy]:
    """The arithmetic and the geometric mean of the newest `iteration` + 1 of `policies`, newest first."""
    if len(policies) == 1:
        return policies[0], policies[0]
    count = (iteration + 1).clamp(max=len(policies))
    weights = tuple((iteration >= age) / count for age in range(len(policies)))
    geometric: Policy = policies[0]
    for age, policy in enumerate(policies[1:], 1):
        share = (iteration >= age) / count.clamp(max=age + 1)
        geometric = GeometricMixture(geometric, policy, share)
    return ArithmeticMixture(policies, weights), geometric

"""Regret matching+ and its predictive form, for unregularised games (beta = 0).

    u = A pi_k;   R_{k+1} = max(R_k + u - <pi_k, u>, 0);   pi_{k+1} ∝ R_{k+1}                       regret matching+
                                                           pi_{k+1} ∝ max(R_{k+1} + u - <pi_k, u>, 0)   predictive

R_0 = 0; pi is uniform if all its weights are zero. One query per iteration. The average of the iterates converges, with
weights k for RM+ and k^2 for the predictive form. Sources: arXiv:1407.5042, arXiv:2007.14358.
See docs/mathematics.md, "Averages at beta = 0".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Algorithm, ConfigError, Prox, State, Tensor, TrainablePolicy
from nlhf.policies.tabular import TabularPolicy


@dataclass(frozen=True)
class RegretState(State):
    """The policy and the positive regrets."""

    regret: Tensor  # (S, X, Y)


@dataclass(frozen=True)
class RegretMatching(Algorithm):
    """Regret matching+, predictive or not; it starts from the initial policy and ignores the reference."""

    predictive: bool

    sources = ("1407.5042", "2007.14358")
    needs = frozenset({"answers", "bilinear", "one-turn", "table"})

    @property
    def averaging(self) -> int:
        return 2 if self.predictive else 1

    def check(self, beta: float) -> None:
        if beta != 0:
            raise ConfigError(f"beta={beta} adds a KL term, which regret matching does not support: set beta=0.")

    def caveat(self, beta: float) -> str | None:
        return "its average converges to the equilibrium, its last iterate need not"

    def init(self, policy: TrainablePolicy) -> RegretState:
        return RegretState(policy, regret=policy.probabilities * 0)

    def update(self, state: RegretState, prox: Prox) -> RegretState:
        pi, answer = state.policy.probabilities, prox.advantage(state.policy)
        instant = answer - (pi * answer).sum(-1, keepdim=True)
        regret = (state.regret + instant).clamp(min=0.0)
        weights = (regret + instant).clamp(min=0.0) if self.predictive else regret
        total = weights.sum(-1, keepdim=True)
        policy = (weights / total).where(total > 0, 1 / weights.shape[-1])
        return RegretState(TabularPolicy(policy.log()), regret)

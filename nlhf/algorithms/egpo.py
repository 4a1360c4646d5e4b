"""EGPO: extragradient on logits (arXiv:2503.08942).

    t'      = (1-w) t + w (t_ref + A softmax(t)  / beta),      w = lambda beta / (1 + lambda beta)
    t_{k+1} = (1-w) t + w (t_ref + A softmax(t') / beta)

Two queries an iteration. It is the trajectory of Nash Mirror Prox with step size lambda, and has its guarantee; it is
coded on logits, not through prox, so that the equality of the two is a test of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Policy, Prox, State, Tensor
from nlhf.algorithms.nash_mp import NashMP
from nlhf.policies.tabular import TabularPolicy


@dataclass(frozen=True)
class EGPOState(State):
    """The policy and its logits."""

    logits: Tensor  # (S, X, Y)


@dataclass(frozen=True)
class EGPO(NashMP):
    """Extragradient preference optimisation; step size and bound are those of Nash Mirror Prox."""

    needs = frozenset({"answers", "table"})

    def init(self, policy: Policy) -> EGPOState:
        return EGPOState(policy, policy.log_probabilities)

    def update(self, state: EGPOState, prox: Prox) -> EGPOState:  # type: ignore[override]
        beta, reference = prox.beta, prox.reference.log_probabilities
        step = prox.step(self.step_size)
        weight = (step * beta / (1 + step * beta)).where(step.isfinite(), 1.0)
        target = reference + prox.advantage(state.policy) / beta
        half = TabularPolicy(((1 - weight) * state.logits + weight * target).log_softmax(-1))
        logits = (1 - weight) * state.logits + weight * (reference + prox.advantage(half) / beta)
        return EGPOState(TabularPolicy(logits.log_softmax(-1)), logits)

    def check(self, beta: float) -> None:
        if beta == 0:
            raise ConfigError("beta=0 leaves EGPO without its target reference + A pi/beta: set beta > 0.")

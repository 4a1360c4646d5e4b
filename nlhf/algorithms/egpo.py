"""EGPO: extragradient on logits (arXiv:2503.08942).

    t'      = (1-w) t + w (t_ref + A softmax(t)  / beta),      w = lambda beta / (1 + lambda beta)
    t_{k+1} = (1-w) t + w (t_ref + A softmax(t') / beta)

Two queries per iteration. It has the trajectory and the guarantee of Nash Mirror Prox with step size lambda. It is
written on logits instead of prox, so that comparing the two tests both.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, State, Tensor, TrainablePolicy
from nlhf.algorithms.nash_mp import MirrorProxRate
from nlhf.policies.tabular import TabularPolicy


@dataclass(frozen=True)
class EGPOState(State):
    """The policy and its logits."""

    logits: Tensor  # (S, X, Y)


@dataclass(frozen=True)
class EGPO(MirrorProxRate):
    """Extragradient preference optimisation; with the step size and bound of Nash Mirror Prox."""

    sources = ("2503.08942",)
    needs = frozenset({"answers", "one-turn", "reverse-kl", "table"})

    def init(self, policy: TrainablePolicy) -> EGPOState:
        return EGPOState(policy, policy.log_probabilities)

    def update(self, state: EGPOState, prox: Prox) -> EGPOState:
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

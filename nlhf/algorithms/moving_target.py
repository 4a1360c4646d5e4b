"""Moving targets: the anchor, and perhaps the opponent, is a running average of the parameters (arXiv:2505.19731 v2).

    pi_{k+1} = prox(opponent = pi_k or target_k, anchor = target_k, lambda), from pi_k
    target_{k+1} = (1 - rate) target_k + rate pi_{k+1},  of parameters (logits for tables),   target_0 = pi_0

Opponent pi_k: Nash Prox, the proximal point method whose anchor follows; with one gradient step a problem and a rate of
about one over the steps that a problem needs it is the practical default. Opponent target_k: Nash-MP without its
look-ahead, which needs a far smaller rate where beta is small; with lambda = inf, which leaves no anchor, Nash-EMA-PG
(arXiv:2312.00886). All rest at the equilibrium, if they come to rest. The default `theory` is lambda = 2: with it
kappa = beta + 1/lambda > 1/2, and best responses within a problem contract even without a gradient step's damping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlhf.algorithms.base import ConfigError, Policy, Prox, ProximalAlgorithm, State, Tensor


@dataclass(frozen=True)
class MovingTargetState(State):
    """The policy and its running average."""

    target: Policy


@dataclass(frozen=True)
class MovingTarget(ProximalAlgorithm):
    """Proximal steps from a moving target.

    Args:
        opponent: the `policy` itself, or the `target`.
        rate: by which the target follows, in (0, 1].
    """

    opponent: Literal["policy", "target"]
    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate <= 1:
            raise ConfigError(f"algorithm.rate={self.rate} is no rate: give a number in (0, 1].")

    @property
    def target_rate(self) -> float:
        return self.rate

    def init(self, policy: Policy) -> MovingTargetState:
        return MovingTargetState(policy, target=policy)

    def update(self, state: MovingTargetState, prox: Prox) -> MovingTargetState:
        pi, target = state.policy, state.target
        opponent = pi if self.opponent == "policy" else target
        policy = prox(opponent=opponent, anchor=target, step_size=self.step_size, start=pi)
        return MovingTargetState(policy, target.towards(policy, prox.beta * 0 + self.rate))

    def theory_step(self, beta: Tensor) -> Tensor:
        return beta.new_full(beta.shape, 2.0)

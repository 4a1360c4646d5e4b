"""Moving targets: the anchor, or anchor and opponent, is a running average of the parameters (arXiv:2505.19731 v2).

    pi_{k+1} = prox(opponent = pi_k or target_k, anchor = target_k, lambda), from pi_k
    target_{k+1} = (1 - rate) target_k + rate pi_{k+1},  of parameters (logits for tables),   target_0 = pi_0

Opponent pi_k: Nash Prox, a proximal point method whose anchor follows the policy. With one gradient step per problem
and a rate of about one over the number of steps that a problem needs, it is the practical default. Opponent target_k:
Nash-MP without the half step, which needs a far smaller rate if beta is small; with lambda = inf, which removes the
anchor, Nash-EMA-PG (arXiv:2312.00886). The only fixed point of all of them is the equilibrium. The default `theory` is
lambda = 2: then kappa = beta + 1/lambda > 1/2, and exact best responses within a problem contract.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy


@dataclass(frozen=True)
class MovingTargetState(State):
    """The policy and its running average."""

    target: TrainablePolicy


@dataclass(frozen=True)
class MovingTarget(ProximalAlgorithm):
    """Proximal steps from a moving target.

    Args:
        opponent: the `policy` itself, or the `target`.
        rate: weight of the new policy in the running average, in (0, 1].
    """

    opponent: Literal["policy", "target"]
    rate: float

    sources = ("2505.19731", "2312.00886")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate <= 1:
            raise ConfigError(f"algorithm.rate={self.rate} is out of range: give a number in (0, 1].")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"interior"} if self.step_size == math.inf else ())

    @property
    def target_rate(self) -> float:
        return self.rate

    def init(self, policy: TrainablePolicy) -> MovingTargetState:
        return MovingTargetState(policy, target=policy)

    def update(self, state: MovingTargetState, prox: Prox) -> MovingTargetState:
        pi, target = state.policy, state.target
        opponent = pi if self.opponent == "policy" else target
        policy = prox(opponent=opponent, anchor=target, step_size=self.step_size, start=pi)
        return MovingTargetState(policy, target.towards(policy, prox.beta * 0 + self.rate))

    def theory_step(self, beta: Tensor) -> Tensor:
        return beta.new_full(beta.shape, 2.0)

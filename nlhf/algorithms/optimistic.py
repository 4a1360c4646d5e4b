"""Optimistic mirror descent: Nash Mirror Prox that reuses the previous half step, one query per iteration.

    half_{k+1} = prox(opponent = half_k, anchor = pi_k, lambda),   half_0 = pi_0
    pi_{k+1}   = prox(opponent = half_{k+1}, anchor = pi_k, lambda)

KL(pi* || pi_k) <= (1 + lambda beta)^-k KL(pi* || pi_0) for lambda^2 <= 1 + lambda beta; the default `theory` is the
largest such step, (beta + sqrt(beta^2 + 4))/2; lambda = 2 can diverge. The first iteration takes one more query. At
beta = 0 this is optimistic multiplicative weights (OMWU), whose last iterate converges. Sources: arXiv:2105.15186,
arXiv:2512.24818; ONPO, arXiv:2502.16852. See docs/mathematics.md, "Optimistic mirror descent".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Prox, State, Tensor, TrainablePolicy
from nlhf.algorithms.restarts import Epoch, Restarting


@dataclass(frozen=True)
class OptimisticState(State):
    """The policy, the half step that led to it, and the sums since the last restart if there are restarts."""

    previous: TrainablePolicy
    epoch: Epoch | None = None


@dataclass(frozen=True)
class Optimistic(Restarting):
    """Optimistic mirror descent with a constant step size."""

    sources = ("2105.15186", "2512.24818", "2502.16852")

    def init(self, policy: TrainablePolicy) -> OptimisticState:
        return OptimisticState(policy, previous=policy, epoch=self.first_epoch(policy))

    def update(self, state: OptimisticState, prox: Prox) -> OptimisticState:
        pi = state.policy
        half = prox(opponent=state.previous, anchor=pi, step_size=self.step_size)
        new = prox(opponent=half, anchor=pi, step_size=self.step_size, start=half)
        if state.epoch is None:
            return OptimisticState(new, previous=half)
        accepted = state.epoch.weight >= 0
        _, new, half, epoch = self.restarted(state.epoch, prox, new, half, self.step_size, accepted)
        return OptimisticState(new, previous=half, epoch=epoch)

    def theory_step(self, beta: Tensor) -> Tensor:
        return (beta + (beta**2 + 4).sqrt()) / 2

    def contraction(self, beta: Tensor) -> Tensor:
        growth = 1 + self.step_size * beta
        proved = (self.step_size**2 <= growth * (1 + 1e-12)) & (self.restart is None)
        return (1 / growth).where(proved, float("nan"))

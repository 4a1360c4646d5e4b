"""Adaptive steps: a step grows as long as identity (M) proves that it contracts, which takes no further query.

    half = prox(opponent = o, anchor = pi_k, lambda);   new = prox(opponent = half, anchor = pi_k, lambda)

Adaptive Nash-MP, o = pi_k: accept iff (1 + lambda beta) KL(half || new) <= KL(half || pi_k). An accepted iteration
contracts KL(pi* || pi) by 1/(1 + lambda beta). The first lambda is 2 beta + 2 sqrt(1 + beta^2); every lambda up to it
is accepted.
Adaptive optimistic, o = the previous half step: accept iff 2 (1 + lambda beta) KL(half || new) <= KL(half || pi_k) +
E_k, then E_{k+1} = KL(half || new), E_0 = 0; KL + E contracts by 1/(1 + lambda beta), with one query per iteration.
With another regulariser than KL, lambda beta KL(half || new) becomes lambda beta D(half, new).
After an accepted step lambda *= grow. After a rejected step lambda *= shrink and the algorithm stays at pi_k; the
queries are still charged. Contexts are independent games: each has its own lambda and its own test.
See docs/mathematics.md, "Adaptive steps". Source: ours, based on arXiv:2505.19731 and arXiv:2105.15186.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Policy, Prox, State, Tensor, TrainablePolicy
from nlhf.algorithms.restarts import Epoch, Restarting
from nlhf.numerics import simplex

ROUNDING = 1e-24  # KL of a step below which rounding decides the test


@dataclass(frozen=True)
class AdaptiveState(State):
    """The policy, the previous half step, the error E, the next step size and the proved log contraction of KL."""

    previous: TrainablePolicy
    error: Tensor  # (S, X, 1), as all tensors below
    step_size: Tensor
    log_contraction: Tensor
    epoch: Epoch | None = None  # the sums since the last restart, if there are restarts


@dataclass(frozen=True)
class Adaptive(Restarting):
    """Nash-MP or, with `optimistic`, optimistic mirror descent, with an adaptive step size per seed and context."""

    optimistic: bool
    grow: float
    shrink: float

    sources = ("2505.19731", "2105.15186")

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"exact"}

    def init(self, policy: TrainablePolicy) -> AdaptiveState:
        zero = policy.log_probabilities.new_zeros(*policy.log_probabilities.shape[:2], 1)
        step, epoch = zero + self.step_size, self.first_epoch(policy)
        return AdaptiveState(policy, policy, error=zero, step_size=step, log_contraction=zero, epoch=epoch)

    def update(self, state: AdaptiveState, prox: Prox) -> AdaptiveState:
        pi, step = state.policy, state.step_size
        half = prox(opponent=state.previous if self.optimistic else pi, anchor=pi, step_size=step)
        new = prox(opponent=half, anchor=pi, step_size=step, start=half)
        moved = kl(half, pi)
        growth, error, total = prox.contraction(half, new, step)
        accept = (1 + self.optimistic) * total <= moved + state.error
        tiny = moved <= ROUNDING
        accept = accept | tiny
        epoch = state.epoch
        if epoch is not None:
            due, new, half, epoch = self.restarted(epoch, prox, new, half, step, accept)
            error = error.where(~due, 0.0)
        return AdaptiveState(
            prox.select(accept, new, pi),
            prox.select(accept, half, state.previous) if self.optimistic else pi,
            error=error.where(accept, state.error) if self.optimistic else state.error,
            step_size=step.where(tiny, (step * self.grow).where(accept, step * self.shrink)),
            log_contraction=state.log_contraction - growth.log().where(accept, 0.0),
            epoch=epoch,
        )

    def theory_step(self, beta: Tensor) -> Tensor:
        if self.optimistic:
            return (beta + (beta**2 + 4).sqrt()) / 2
        return 2 * beta + 2 * (1 + beta**2).sqrt()

    def current_step(self, state: AdaptiveState, beta: Tensor) -> Tensor:
        return state.step_size.mean(1, keepdim=True)

    def kl_bound(self, state: AdaptiveState, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        if self.restart is not None:
            return super().kl_bound(state, iteration, beta, initial)
        return initial * state.log_contraction.amax(1, keepdim=True).exp()


def kl(first: Policy, second: Policy) -> Tensor:
    """KL in each context, (S, X, 1)."""
    return simplex.kl(first.log_probabilities, second.log_probabilities)[..., None]

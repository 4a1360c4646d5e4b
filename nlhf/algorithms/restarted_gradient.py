"""Optimistic gradient steps on the simplex with adaptive steps and restarts, for unregularised games (beta = 0).

    half = P(x_k + lambda A half_{k-1});   new = P(x_k + lambda A half),   P the Euclidean projection onto the simplex

Accept iff 2 |half - new|^2 <= |half - x_k|^2 + E_k; then E_{k+1} = |half - new|^2 and lambda *= grow. After a rejected
step lambda *= shrink and the algorithm stays at x_k. By the Euclidean form of identity (M), |pi* - x|^2 + E never rises
over accepted steps. One query per iteration. Restarts: nlhf/algorithms/restarts.py.

A projection gives actions outside the support the probability 0, so their log-probability is -inf, and KL(pi* || pi)
is inf until pi gives every action of pi* a positive probability. See docs/mathematics.md, "Restarts". Source: ours,
based on arXiv:1311.1869.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, State, Tensor, TrainablePolicy
from nlhf.algorithms.restarts import Epoch, Restarting
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy

ROUNDING = 1e-30  # squared length of a step below which rounding decides the test


@dataclass(frozen=True)
class GradientState(State):
    """The policy, the previous half step, the error E, the next step size and the sums since the last restart."""

    previous: TrainablePolicy
    error: Tensor  # (S, X, 1)
    step_size: Tensor  # (S, X, 1)
    epoch: Epoch | None


@dataclass(frozen=True)
class RestartedGradient(Restarting):
    """Adaptive optimistic gradient steps with restarts.

    Args:
        step_size: the first step, in units of probability per payoff.
        grow, shrink: factors of the step after an accepted, or a rejected, step.
    """

    grow: float
    shrink: float

    sources = ("1311.1869",)
    needs = frozenset({"answers", "bilinear", "exact", "one-turn", "table"})

    def check(self, beta: float) -> None:
        if beta != 0:
            raise ConfigError(f"beta={beta} adds a KL term, which gradient steps do not support: set beta=0.")
        super().check(beta)

    def init(self, policy: TrainablePolicy) -> GradientState:
        zero = policy.log_probabilities[..., :1] * 0
        return GradientState(policy, policy, zero, zero + self.step_size, self.first_epoch(policy))

    def update(self, state: GradientState, prox: Prox) -> GradientState:
        x, step = state.policy.probabilities, state.step_size
        guess = simplex.projection(x + step * prox.advantage(state.previous))
        half: TrainablePolicy = TabularPolicy(guess.log())
        corrected = simplex.projection(x + step * prox.advantage(half))
        new: TrainablePolicy = TabularPolicy(corrected.log())
        moved, error = squared_distance(guess, x), squared_distance(guess, corrected)
        tiny = moved <= ROUNDING
        accept = (2 * error <= moved + state.error) | tiny
        epoch = state.epoch
        if epoch is not None:
            due, new, half, epoch = self.restarted(epoch, prox, new, half, step, accept)
            error = error.where(~due, 0.0)
        return GradientState(
            prox.select(accept, new, state.policy),
            prox.select(accept, half, state.previous),
            error=error.where(accept, state.error),
            step_size=step.where(tiny, (step * self.grow).where(accept, step * self.shrink)),
            epoch=epoch,
        )

    def current_step(self, state: GradientState, beta: Tensor) -> Tensor:
        return state.step_size.mean(1, keepdim=True)


def squared_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distance in each context, (S, X, 1)."""
    return (first - second).square().sum(-1, keepdim=True)

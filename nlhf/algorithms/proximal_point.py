"""Proximal point: solve the game regularised to the anchor as well, then move the anchor (MPO, COMAL, Nash Prox).

    inner game: beta_in = beta + 1/lambda,  ref_in ∝ anchor^(1/(1+lambda beta)) ref^(lambda beta/(1+lambda beta))
    h: an iterate of the inner algorithm;   n = prox(opponent = h, anchor, lambda) = its best response in the inner game
    anchor <- n  as soon as (1 + lambda beta) KL(h || n) <= accuracy KL(h || anchor), or after `inner_steps`

By identity (M) any accuracy <= 1 contracts KL(pi* || anchor) by 1/(1 + lambda beta), for any lambda. At beta = 0 it
never rises, for every pi*, but it falls by (1 - accuracy) KL(h || anchor) only: with accuracy 1 it may stay constant.
The papers use a fixed inner length; with one inner step of self-play it is Nash-MP. The anchor is the policy that is
measured. Sources: arXiv:2410.16714, arXiv:2410.23223, arXiv:2505.19731 v2. See docs/mathematics.md, "Proximal point".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from nlhf.algorithms.base import Algorithm, ConfigError, Policy, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy
from nlhf.numerics import simplex
from nlhf.policies.mixture import GeometricMixture
from nlhf.policies.select import choose


@dataclass(frozen=True)
class ProximalPointState(State):
    """The anchor as `policy`, the inner algorithm's state and length so far, lambda, and the proved contraction."""

    inner: State
    length: Tensor  # (S, 1, 1), as all tensors below
    step_size: Tensor
    log_contraction: Tensor


@dataclass(frozen=True)
class ProximalPoint(ProximalAlgorithm):
    """Proximal point with any algorithm inside.

    Args:
        inner: solves the inner game.
        inner_steps: a fixed number of inner iterations, or null for the certified stop.
        accuracy: of the certified stop, in (0, 1].
        grow: factor of lambda at every move of the anchor.
    """

    inner: Algorithm
    inner_steps: int | None
    accuracy: float
    grow: float

    sources = ("2410.16714", "2410.23223", "2505.19731")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.accuracy <= 1:
            raise ConfigError(f"algorithm.accuracy={self.accuracy} is out of range: give a number in (0, 1].")

    @property
    def cited(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sources, *self.inner.cited)))

    @property
    def needs(self) -> frozenset[str]:
        certified = frozenset({"exact"} if self.inner_steps is None else ())
        return self.inner.needs | {"enumerate", "reverse-kl"} | certified

    @property
    def target_rate(self) -> float:
        """The anchor moves once in `inner_steps` iterations, so the inner iterations average the noise."""
        return 1.0 if self.inner_steps is None else 1 / self.inner_steps

    def in_units(self, unit: float) -> Self:
        return replace(super().in_units(unit), inner=self.inner.in_units(unit))

    def init(self, policy: TrainablePolicy) -> ProximalPointState:
        zero = self.step_size * 0
        inner = self.inner.bind(1 / self.step_size).init(policy)
        return ProximalPointState(policy, inner, length=zero, step_size=self.step_size, log_contraction=zero)

    def update(self, state: ProximalPointState, prox: Prox) -> ProximalPointState:
        anchor, step = state.policy, state.step_size
        pull, gain = simplex.step_weights(prox.beta, step)
        inner_prox = prox.regularised(
            1 / gain, GeometricMixture(anchor, prox.reference, pull), current=state.inner.policy
        )
        solver = self.inner.bind(1 / gain)
        inner = solver.update(state.inner, inner_prox)
        new = prox(opponent=inner.policy, anchor=anchor, step_size=step, start=inner.policy)
        growth = 1 + step * prox.beta
        error, moved = growth * kl_per_seed(inner.policy, new), kl_per_seed(inner.policy, anchor)
        proved = error <= moved
        close = error <= self.accuracy * moved
        move = close if self.inner_steps is None else state.length + 1 >= self.inner_steps
        mask = move[:, 0, 0]
        earned = -growth.log().where(proved, float("nan"))
        return ProximalPointState(
            prox.select(mask, new, anchor),
            choose(mask, solver.init(new), inner, lambda first, second: prox.select(mask, first, second)),
            length=(state.length + 1).where(~move, 0.0),
            step_size=(step * self.grow).where(move, step),
            log_contraction=state.log_contraction + earned.where(move, 0.0),
        )

    def theory_step(self, beta: Tensor) -> Tensor:
        return (1 / beta).where(beta > 0, 4.0)

    def current_step(self, state: ProximalPointState, beta: Tensor) -> Tensor:
        return state.step_size

    def kl_bound(self, state: ProximalPointState, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        return initial * state.log_contraction.exp()


def kl_per_seed(first: Policy, second: Policy) -> Tensor:
    """KL averaged over contexts, (S, 1, 1)."""
    return simplex.kl(first.log_probabilities, second.log_probabilities).mean(-1)[:, None, None]

"""Nash Mirror Prox: take a half step, then step from the original policy against it.

    half     = prox(opponent = pi_k, anchor = pi_k, lambda)
    pi_{k+1} = prox(opponent = half, anchor = pi_k, lambda)

Two queries per iteration. KL(pi* || pi_k) <= (1 + lambda beta)^-k KL(pi* || pi_0) for lambda <= 2 (arXiv:2505.19731,
where eta = lambda beta), and by identity (M) up to lambda = 2 beta + 2 sqrt(1 + beta^2); the default `theory` is 2.
See docs/mathematics.md, "Nash Mirror Prox".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Prox, ProximalAlgorithm, State, Tensor


@dataclass(frozen=True)
class MirrorProxRate(ProximalAlgorithm):
    """The step size and the guarantee of Nash Mirror Prox."""

    def theory_step(self, beta: Tensor) -> Tensor:
        return beta.new_full(beta.shape, 2.0)

    def contraction(self, beta: Tensor) -> Tensor:
        covered = self.step_size <= 2 * beta + 2 * (1 + beta**2).sqrt()
        return (1 / (1 + self.step_size * beta)).where(covered, float("nan"))


@dataclass(frozen=True)
class NashMP(MirrorProxRate):
    """Nash Mirror Prox with a constant step size."""

    sources = ("2505.19731",)

    def update(self, state: State, prox: Prox) -> State:
        pi = state.policy
        half = prox(opponent=pi, anchor=pi, step_size=self.step_size)
        return State(prox(opponent=half, anchor=pi, step_size=self.step_size, start=half))

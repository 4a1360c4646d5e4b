"""Nash mirror descent: mirror descent against, and from, a geometric mixture with the reference (arXiv:2312.00886).

    mix ∝ pi_k^(1 - w) ref^w,  w = lambda beta;      pi_{k+1} ∝ mix exp(lambda P mix)
        = prox(opponent = mix, anchor = pi_k, lambda / (1 - w))

One query per iteration; KL_{k+1} <= (1 - lambda beta) KL_k + lambda^2/8. The default `theory` is the decreasing step
lambda_k = 2/(beta (k+2)), for which KL_N <= 1/(2 beta^2 (N+1)); its first step has w = 1, an infinite step for prox.
A constant step is biased: at the fixed point, mix is the equilibrium of the game with beta/(1 - lambda beta).
See docs/mathematics.md, "Nash-MD".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, CountingState, Prox, ProximalAlgorithm, Tensor, TrainablePolicy
from nlhf.policies.mixture import GeometricMixture


@dataclass(frozen=True)
class NashMD(ProximalAlgorithm):
    """Nash mirror descent with a decreasing (`theory`) or a constant step size, lambda beta <= 1."""

    sources = ("2312.00886",)
    needs = frozenset({"reverse-kl"})

    def init(self, policy: TrainablePolicy) -> CountingState:
        return CountingState.first(policy)

    def update(self, state: CountingState, prox: Prox) -> CountingState:
        step, weight = self._step_and_weight(state, prox.beta)
        mixture = GeometricMixture(state.policy, prox.reference, weight)
        policy = prox(opponent=mixture, anchor=state.policy, step_size=step / (1 - weight))
        return CountingState(policy, state.iteration + 1)

    def check(self, beta: float) -> None:
        super().check(beta)
        if self.by_theory and beta == 0:
            raise ConfigError("beta=0 leaves Nash-MD without its decreasing step: set beta > 0 or algorithm.step_size.")
        if not self.by_theory and self.step_size * beta > 1:
            raise ConfigError(
                f"algorithm.step_size={self.step_size} is too long for Nash-MD, whose mixture gives the reference the "
                f"weight step_size*beta: give at most 1/beta = {1 / beta:g}, or theory."
            )

    def caveat(self, beta: float) -> str | None:
        if self.by_theory or beta == 0:
            return None
        return "with a constant step it is biased: its mixture rests at the equilibrium for beta/(1 - step_size beta)"

    def bind(self, beta: Tensor) -> NashMD:
        return self if self.by_theory else super().bind(beta)

    def current_step(self, state: CountingState, beta: Tensor) -> Tensor:
        return self._step_and_weight(state, beta)[0]

    def step_taken(self, state: CountingState, prox: Prox) -> Tensor:
        step, weight = self._step_and_weight(state, prox.beta)
        requested = step / (1 - weight)
        taken = prox.step(requested)
        scale = (1 - weight).where(weight < 1, 1.0)
        return step.where(taken == requested, taken * scale)

    def kl_bound(self, state: CountingState, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        if self.by_theory:
            bound = 1 / (2 * beta**2 * (iteration + 1))
        else:
            shrink = (1 - self.step_size * beta) ** iteration
            bound = shrink * initial + (1 - shrink) * self.step_size / (8 * beta)
        return initial.where(iteration == 0, bound)

    def _step_and_weight(self, state: CountingState, beta: Tensor) -> tuple[Tensor, Tensor]:
        """lambda and the reference's weight lambda beta; `theory` computes the weight first, which is exact."""
        if self.by_theory:
            weight = 2 / (state.iteration + 2)
            return weight / beta, weight
        return self.step_size, self.step_size * beta

"""Multi-turn preference optimisation: mirror descent against itself in every turn of a conversation (arXiv:2405.14655).

    pi_{k+1}(. | s) ∝ pi_k(. | s)^(1 - beta eta) ref(. | s)^(beta eta) exp(eta Q_k(s, .)),   eta_k = 2/(beta (k+2))

In every node s by itself. Q_k is the regularised value of an answer: what conversations gain against pi_k, less beta KL
in the later turns, which pi_k plays. In units of a proximal step it is lambda_k = 2/(beta k), the default `theory`; a
number makes it constant. The expected KL over the turns falls as 1/k. One query per iteration. With one turn it is
online mirror descent with these steps. A proximal step of `nash_mp` solves all turns together and has a linear rate.
See docs/mathematics.md, "Several turns".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, CountingState, Prox, ProximalAlgorithm, Tensor, TrainablePolicy


@dataclass(frozen=True)
class MTPO(ProximalAlgorithm):
    """Multi-turn preference optimisation with a decreasing (`theory`) or a constant step size."""

    sources = ("2405.14655",)
    needs = frozenset({"local", "reverse-kl"})

    def init(self, policy: TrainablePolicy) -> CountingState:
        return CountingState.first(policy)

    def update(self, state: CountingState, prox: Prox) -> CountingState:
        policy = prox.local_step(state.policy, self.current_step(state, prox.beta))
        return CountingState(policy, state.iteration + 1)

    def check(self, beta: float) -> None:
        super().check(beta)
        if self.by_theory and beta == 0:
            raise ConfigError("beta=0 leaves MTPO without its decreasing step: set beta > 0 or algorithm.step_size.")

    def bind(self, beta: Tensor) -> MTPO:
        return self if self.by_theory else super().bind(beta)

    def current_step(self, state: CountingState, beta: Tensor) -> Tensor:
        return 2 / (beta * state.iteration) if self.by_theory else self.step_size

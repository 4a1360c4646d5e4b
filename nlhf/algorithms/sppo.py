"""Self-play without regularisation: multiplicative weights against itself (Hedge; SPO, SPPO).

    pi_{k+1} ∝ pi_k exp(lambda A pi_k)                                   constant step
    pi_{k+1} ∝ ref exp(lambda_{k+1} sum_{j<=k} A pi_j)                   `theory`: lambda_k = 2 sqrt(log n / k)

One query per iteration. The *average* of the iterates is exploitable by at most log(1/min ref)/(lambda N) + lambda/8,
and with the anytime step by sqrt(log n / N) from a uniform start, both at beta = 0; the last one cycles or diverges.
It steps with beta = 0 for every beta of the game, while metrics use the game's beta. Sources: arXiv:2405.00675,
arXiv:2401.04056. See docs/mathematics.md, "Averages at beta = 0".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, CountingState, Prox, ProximalAlgorithm, Tensor, TrainablePolicy


@dataclass(frozen=True)
class SPPO(ProximalAlgorithm):
    """Multiplicative weights; an anytime step is a proximal step with beta = 1/lambda_{k+1} - 1/lambda_k."""

    sources = ("2405.00675", "2401.04056")
    needs = frozenset({"reverse-kl"})

    @property
    def paces_itself(self) -> bool:
        return self.by_theory

    def init(self, policy: TrainablePolicy) -> CountingState:
        return CountingState.first(policy)

    def update(self, state: CountingState, prox: Prox) -> CountingState:
        pi, step = state.policy, self.current_step(state, prox.beta)
        policy = self._unregularised(state, prox)(opponent=pi, anchor=pi, step_size=step)
        return CountingState(policy, state.iteration + 1)

    def _unregularised(self, state: CountingState, prox: Prox) -> Prox:
        """The engine without the game's KL term, with the pull to ref that an anytime step needs."""
        following = CountingState(state.policy, state.iteration + 1)
        pull = 1 / self.current_step(following, prox.beta) - 1 / self.current_step(state, prox.beta)
        return prox.regularised(pull, prox.reference)

    def step_taken(self, state: CountingState, prox: Prox) -> Tensor:
        return super().step_taken(state, self._unregularised(state, prox))

    def check(self, beta: float) -> None:
        if self.step_size == float("inf"):
            raise ConfigError("algorithm.step_size=.inf leaves SPPO without an anchor: give a finite number.")

    def caveat(self, beta: float) -> str | None:
        last = "its last iterate cycles, its average converges to the equilibrium"
        return f"{last} of beta = 0: it has no KL term" if beta > 0 else last

    def bind(self, beta: Tensor) -> SPPO:
        return self if self.by_theory else super().bind(beta)

    def current_step(self, state: CountingState, beta: Tensor) -> Tensor:
        if not self.by_theory:
            return self.step_size
        return 2 * (math.log(state.policy.actions) / state.iteration).sqrt()

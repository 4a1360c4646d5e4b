"""Online mirror descent, alias magnetic mirror descent with the reference as its magnet.

    pi_{k+1} = prox(opponent = pi_k, anchor = pi_k, lambda)

One query per iteration. KL(pi* || pi) shrinks by 1/(1 + lambda beta) for lambda <= 4 beta, the default `theory`, and by
1/(1 + 2 lambda beta - lambda^2/4) for 4 beta <= lambda < 8 beta; above about lambda = 2 pi^2 beta it can cycle.
With lambda = inf the anchor drops out, so pi_{k+1} is the best response to pi_k (`self_play`), and KL shrinks by
1/(4 beta^2) if beta > 1/2. Sources: MMD, arXiv:2206.05825; INPO, arXiv:2407.00617, solves this step by regression;
online IPO, arXiv:2403.08635, takes gradient steps towards the best response.
See docs/mathematics.md, "Online mirror descent and self-play".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor


@dataclass(frozen=True)
class MirrorDescentRate(ProximalAlgorithm):
    """The step size and the guarantee of online mirror descent."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"strongly-convex"} if self.by_theory else ())

    def check(self, beta: float) -> None:
        super().check(beta)
        if beta == 0 and self.by_theory:
            raise ConfigError("beta=0 makes the step 4 beta zero: set beta > 0 or give algorithm.step_size a number.")

    def cycling(self, beta: float, unit: float = 1.0) -> str | None:
        longest = math.inf if beta > 1 / math.pi else 2 * math.pi**2 * beta
        if self.by_theory or self.step_size <= longest:
            return None
        if self.step_size == math.inf:
            return "without an anchor it can cycle"
        formula = "2 pi^2 beta = " if unit == 1 else ""
        return f"with a step above {formula}{longest / unit:.2g} it can cycle"

    def theory_step(self, beta: Tensor) -> Tensor:
        return 4 * beta

    def contraction(self, beta: Tensor) -> Tensor:
        step = self.step_size
        small = 1 / (1 + step * beta)
        large = (1 / (1 + 2 * step * beta - step**2 / 4)).where(step < 8 * beta, float("nan"))
        no_anchor = (1 / (4 * beta**2)).where((beta > 0.5) & step.isinf(), float("nan"))
        return small.where(step <= 4 * beta, large.where(step.isfinite(), no_anchor))


@dataclass(frozen=True)
class OnlineMirrorDescent(MirrorDescentRate):
    """Online mirror descent with a constant step size; self-play if it is infinite."""

    sources: ClassVar[tuple[str, ...]] = ("2206.05825", "2407.00617", "2403.08635")

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({"self-play"} if self.step_size == float("inf") else ())

    def update(self, state: State, prox: Prox) -> State:
        pi = state.policy
        return State(prox(opponent=pi, anchor=pi, step_size=self.step_size))

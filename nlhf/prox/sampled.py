"""The sampled engine: the closed form with estimated answers.

    y -> P(y > mu) is the mean of the annotator's answers to (y, y'_1) ... (y, y'_m), y'_j ~ mu drawn anew each time,

in every context; all actions meet the same opponents. One query is one compared pair, so an answer takes
contexts * actions * m queries. The estimates are unbiased with a variance proportional to 1/m.

With constant steps, the noise of the last answers stays in the policy. step_limit=theory therefore uses, at iteration
k = 1, 2, ...,

    min(step_size that the algorithm asks for,  2/(beta k r),  sqrt(log n / k)/(2 r)).

The first limit is the Robbins-Monro step of a strongly monotone problem, as in Nash-MD (arXiv:2312.00886): a step t
contracts KL(pi* || pi) by 1/(1 + t beta) and adds noise of order t^2, so that KL falls as 1/k. The second limit is
the rate of the unregularised problem (stochastic Mirror Prox, arXiv:0809.0815); it is smaller while
k < 16/(beta^2 log n). Its factor, a quarter of the one for multiplicative weights without noise, was chosen by
measurement. beta belongs to the problem (with another regulariser than KL it is beta sigma), n is the number of
actions, and r is the rate of a moving target, which averages the answers of 1/r iterations. r is 1 for other
algorithms, and 0 (no limit) for those whose own steps decrease. See docs/mathematics.md, "Steps under noise".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from nlhf.config import ConfigError
from nlhf.games.feedback import Judge
from nlhf.numerics.streams import Uniforms
from nlhf.prox.base import Parts, ProxFamily, ProximalProblem
from nlhf.prox.exact import ClosedForm

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.policies.base import Policy
    from nlhf.policies.tabular import TabularPolicy
    from nlhf.prox.engine import ProxEngine


@dataclass(frozen=True)
class SampledProx(ProxFamily):
    """The closed form with sampled answers.

    Args:
        opponents: m, the number of opponents that every action meets.
        step_limit: `theory` shortens long steps as above; null uses every step as the algorithm asks for it.
    """

    opponents: int
    step_limit: Literal["theory"] | None

    random = True
    needs = frozenset({"pairs", "enumerate", "table"})
    provides = frozenset({"answers", "local"})

    def __post_init__(self) -> None:
        if self.opponents < 1:
            raise ConfigError(f"prox.opponents={self.opponents} is too small: give 1 or more.")

    @property
    def decreasing(self) -> bool:
        return self.step_limit is not None

    def engine(self, parts: Parts[FiniteGame]) -> ProxEngine:
        return SampledClosedForm(parts, self)


class SampledClosedForm(ClosedForm):
    """The closed form with the answers of an annotator."""

    def __init__(self, parts: Parts[FiniteGame], options: SampledProx) -> None:
        super().__init__(parts)
        self.uniforms = Uniforms(parts.seeds, parts.beta.device)
        self.judge, self.opponents = Judge(parts.game, parts.feedback, self.uniforms), options.opponents
        self.step_limit = options.step_limit

    def solve(self, problem: ProximalProblem) -> TabularPolicy:
        return super().solve(replace(problem, step_size=self.step(problem.step_size)))

    def step(self, step_size: Tensor) -> Tensor:
        if self.step_limit is None or not self.limits_steps:
            return step_size
        iteration = self.beta.new_tensor(self.iterations + 1)[:, None, None]
        regularised = 2 / (self.strength * iteration)  # inf where beta = 0
        unregularised = (math.log(len(self.game.items)) / iteration).sqrt() / 2
        return step_size.minimum(regularised.minimum(unregularised) / self.rate)

    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        seeds, contexts, actions = policy.log_probabilities.shape
        drawn = (
            self.opponent(policy).at(None).sample(self.uniforms(contexts, self.opponents, active=active))
        )  # (S, X, m)
        first = drawn.new_tensor(range(actions)).repeat_interleave(self.opponents).expand(seeds, contexts, -1)
        all_contexts = drawn.new_tensor(range(contexts)).expand(seeds, -1)
        votes = self.judge(all_contexts, first, drawn.repeat(1, 1, actions), active=active)
        answer = votes.view(seeds, contexts, actions, self.opponents).mean(-1)
        return answer, contexts * actions * self.opponents

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"uniforms": self.uniforms.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self.uniforms.restore(snapshot["uniforms"])

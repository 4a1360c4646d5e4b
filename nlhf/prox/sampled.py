"""The sampled engine: the closed form from answers that are estimated.

    y -> P(y > mu) is the mean of the judge's answers to (y, y'_1) ... (y, y'_m), y'_j ~ mu drawn anew for every answer,

in every context; all actions meet the same opponents. One query is one pair that is put to the judge, so that an answer
takes contexts * actions * m. The estimates are unbiased, their variance falls as 1/m; the step's logits inherit both.

With constant steps a policy keeps the noise of its last answers. step_limit=theory therefore takes, at iteration
k = 1, 2, ...,

    min(step_size that the algorithm asks for,  2/(beta k r),  sqrt(log n / k)/(2 r)).

The first limit is the Robbins-Monro step of a strongly monotone problem, that of Nash-MD (arXiv:2312.00886): a step t
contracts KL(pi* || pi) by 1/(1 + t beta) and adds noise of the order t^2, so that KL falls as 1/k. The second limit is
the rate of the unregularised problem (stochastic Mirror Prox, arXiv:0809.0815); it is the smaller one while
k < 16/(beta^2 log n). Its factor, a quarter of that of multiplicative weights without noise, is measured in
docs/defaults.md. beta is that of the problem, n the number of actions, r the rate by which a moving target follows the
policy: it averages the answers of 1/r iterations. r is 1 for other algorithms, and 0 (no limit) for those whose own
steps decrease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from nlhf.config import ConfigError
from nlhf.games.feedback import Judge
from nlhf.numerics.streams import Uniforms
from nlhf.prox.base import Parts, ProxEngine, ProxFamily
from nlhf.prox.exact import ClosedForm

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from torch import Tensor

    from nlhf.policies.base import Policy


@dataclass(frozen=True)
class SampledProx(ProxFamily):
    """The closed form, from sampled answers.

    Args:
        opponents: m, how many opponents every action meets in a query.
        step_limit: `theory` shortens long steps as above; null takes every step as the algorithm asks for it.
    """

    opponents: int
    step_limit: Literal["theory"] | None

    random: ClassVar[bool] = True
    needs = frozenset({"pairs", "enumerate", "table"})
    provides = frozenset({"answers"})

    def __post_init__(self) -> None:
        if self.opponents < 1:
            raise ConfigError(f"prox.opponents={self.opponents} asks nobody: give 1 or more.")

    @property
    def decreasing(self) -> bool:
        return self.step_limit is not None

    def engine(self, parts: Parts) -> ProxEngine:
        return SampledClosedForm(parts, self)


class SampledClosedForm(ClosedForm):
    """The closed form with the answers of a judge."""

    def __init__(self, parts: Parts, options: SampledProx) -> None:
        super().__init__(parts)
        self.uniforms = Uniforms(parts.seeds, parts.beta.device)
        self.judge, self.opponents = Judge(parts.game, parts.feedback, self.uniforms), options.opponents
        self.limited = options.step_limit is not None

    def __call__(self, *, opponent: Policy, anchor: Policy, step_size: Tensor, start: Policy | None = None) -> Policy:
        return super().__call__(opponent=opponent, anchor=anchor, step_size=self.step(step_size), start=start)

    def step(self, step_size: Tensor) -> Tensor:
        if not self.limited:
            return step_size
        iteration = self.beta.new_tensor(self.iterations + 1)[:, None, None]
        regularised = 2 / (self.beta * iteration)  # inf where beta = 0
        unregularised = (math.log(len(self.game.items)) / iteration).sqrt() / 2
        return step_size.minimum(regularised.minimum(unregularised) / self.rate) if self.rate else step_size

    def ask(self, policy: Policy, asking: np.ndarray) -> tuple[Tensor, int]:
        mu = policy.at(None)
        seeds, contexts, actions = mu.log_probabilities.shape
        drawn = mu.sample(self.uniforms(contexts, self.opponents, active=asking))  # (S, X, m)
        everyone = drawn.new_tensor(range(actions)).repeat_interleave(self.opponents).expand(seeds, contexts, -1)
        where = drawn.new_tensor(range(contexts)).expand(seeds, -1)
        told = self.judge(where, everyone, drawn.repeat(1, 1, actions), active=asking)
        answer = told.view(seeds, contexts, actions, self.opponents).mean(-1)
        return answer, contexts * actions * self.opponents

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"uniforms": self.uniforms.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self.uniforms.restore(snapshot["uniforms"])

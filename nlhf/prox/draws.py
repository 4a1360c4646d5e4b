"""Where a surrogate's expectations come from: draws that are put to the judge, or all actions with their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from nlhf.policies.base import Categorical, Policy, rows

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nlhf.games.feedback import Judge
    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.streams import Uniforms


@dataclass(frozen=True, eq=False)
class Problem:
    """One proximal problem at a batch of contexts (S, B), for a learner under training; all but the learner constant.

    Args:
        learner, opponent, anchor, reference: distributions.
        beta, inverse_step: (S, 1, 1), the weights of the two KL terms.
        beta_dpo: (S, 1, 1), of the logistic loss.
    """

    learner: Categorical
    opponent: Categorical
    anchor: Categorical
    reference: Categorical
    beta: Tensor
    inverse_step: Tensor
    beta_dpo: Tensor

    @cached_property
    def kappa(self) -> Tensor:
        """beta + 1/step_size, (S, 1)."""
        return (self.beta + self.inverse_step)[..., 0]

    def margin(self, actions: Tensor) -> Tensor:
        """m(y) = beta log(pi/ref)(y) + log(pi/anchor)(y)/step_size, for actions (S, B, k)."""
        log_prob = self.learner.log_prob(actions)
        to_reference = log_prob - self.reference.log_prob(actions).to(log_prob)
        return self.beta * to_reference + self.inverse_step * (log_prob - self.anchor.log_prob(actions).to(log_prob))


class Draws(Protocol):
    """Weighted actions and what the preference model says about them; weights sum to 1 over the last dimension."""

    def actions(self, policy: Categorical) -> tuple[Tensor, Tensor | float]:
        """Actions (S, B, k) of a policy and their weights."""

    def pairs(self, policy: Categorical) -> tuple[Tensor, Tensor, Tensor | float]:
        """Independent pairs of actions (S, B, k) of a policy, first and second, and their weights."""

    def against_opponent(self, actions: Tensor) -> Tensor:
        """Unbiased P(y > opponent) - 1/2 for actions (S, B, k)."""

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        """Unbiased P(first > second) - 1/2, (S, B, k)."""

    def centred(self, gain: Tensor) -> Tensor:
        """Gains P - 1/2 - m(y) of `actions` (S, B, k), less a baseline that does not depend on the action."""


class Sampled:
    """A few draws in each context, each put to the judge once.

    Args:
        judge: is asked.
        uniforms: draw.
        opponent: of the problem, at `contexts` (S, B).
        samples: m, actions in each context; pairs are m/2.
        active: the seeds that draw, (S) bool.
        baseline: takes a baseline off gains at `contexts`.
    """

    def __init__(self, judge: Judge, uniforms: Uniforms, opponent: Categorical, contexts: Tensor, samples: int,
                 active: np.ndarray, baseline: Callable[[Tensor, Tensor], Tensor]) -> None:  # fmt: skip
        self.judge, self.uniforms, self.opponent = judge, uniforms, opponent
        self.contexts, self.samples, self.active, self.baseline = contexts, samples, active, baseline
        self.queries = 0  # pairs that were put to the judge, per seed

    def actions(self, policy: Categorical) -> tuple[Tensor, float]:
        drawn = self._drawn(policy, self.samples)
        return drawn, 1 / self.samples

    def pairs(self, policy: Categorical) -> tuple[Tensor, Tensor, float]:
        half = self.samples // 2
        drawn = self._drawn(policy, 2 * half)
        return drawn[..., :half], drawn[..., half:], 1 / half

    def against_opponent(self, actions: Tensor) -> Tensor:
        return self.duel(actions, self._drawn(self.opponent, actions.shape[-1]))

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        self.queries += first[0].numel()
        return self.judge(self.contexts, first, second, self.active)

    def centred(self, gain: Tensor) -> Tensor:
        return self.baseline(gain, self.contexts)

    def _drawn(self, policy: Categorical, count: int) -> Tensor:
        return policy.sample(self.uniforms(self.contexts.shape[1], count, active=self.active))


class Enumerated:
    """All actions, with their probabilities as weights: expectations without noise.

    Args:
        game: answers exactly.
        answer: gives y -> P(y > opponent) - 1/2, (S, X, Y), and charges it.
        contexts: (S, B).
    """

    def __init__(self, game: FiniteGame, answer: Callable[[], Tensor], contexts: Tensor) -> None:
        self.game, self.answer, self.contexts = game, answer, contexts
        self.queries = 0  # evaluations of y -> P(y > y') that duels took, per seed

    def actions(self, policy: Categorical) -> tuple[Tensor, Tensor]:
        weights = policy.log_probabilities.detach().exp()
        return self.contexts.new_tensor(range(weights.shape[-1])).expand(weights.shape), weights

    def pairs(self, policy: Categorical) -> tuple[Tensor, Tensor, Tensor]:
        everyone, weights = self.actions(policy)
        n = weights.shape[-1]
        joint = weights[..., :, None] * weights[..., None, :]
        return everyone.repeat_interleave(n, -1), everyone.repeat(1, 1, n), joint.flatten(-2)

    def against_opponent(self, actions: Tensor) -> Tensor:
        return rows(self.answer(), self.contexts).gather(-1, actions)

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        self.queries += len(self.game.items)
        return self.game.compare(self.contexts, first, second)

    def centred(self, gain: Tensor) -> Tensor:
        return gain


def seen(policies: Sequence[Policy], contexts: Tensor | None, known: dict[Policy, Categorical]) -> list[Categorical]:
    """Every policy at `contexts`, each evaluated once; `known` are those that have been."""
    for policy in policies:
        if policy not in known:
            known[policy] = policy.at(contexts)
    return [known[policy] for policy in policies]

"""The sources of a surrogate's expectations: sampled actions that are compared, or all actions with their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nlhf.policies.distributions import Categorical, Distribution, rows

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nlhf.games.feedback import Judge
    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.streams import Uniforms


class Draws(Protocol):
    """Weighted actions and preferences between them; weights sum to 1 over the last dimension."""

    queries: int  # charged to every active seed

    def actions(self, policy: Distribution) -> tuple[Tensor, Tensor | float]:
        """Actions (S, B, k) of a policy and their weights."""

    def pairs(self, first: Distribution, second: Distribution) -> tuple[Tensor, Tensor, Tensor | float]:
        """Independent pairs of actions (S, B, k) of two policies, which may be the same one, and their weights."""

    def spread(self, policy: Distribution, value: Callable[[Tensor], Tensor]) -> Tensor:
        """E (value(y) - value(y'))^2 over independent pairs of a policy, (S, B); value maps actions (S, B, k)."""

    def against_opponent(self, actions: Tensor) -> Tensor:
        """Unbiased P(y > opponent) - 1/2 for actions (S, B, k)."""

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        """Unbiased P(first > second) - 1/2, (S, B, k)."""

    def centred(self, gain: Tensor) -> Tensor:
        """Gains P - 1/2 - m(y) of `actions` (S, B, k), minus a baseline that does not depend on the action."""


class Sampled:
    """A few draws in each context.

    Args:
        judge: compares.
        uniforms: random numbers of the draws.
        opponent: of the problem, at `contexts` (S, B).
        samples: m, actions in each context; there are m/2 pairs.
        comparators: draws of the opponent that an action meets.
        active: the seeds that draw, (S) bool.
        baseline: subtracts a baseline from gains at `contexts`.
    """

    def __init__(
        self,
        judge: Judge,
        uniforms: Uniforms,
        opponent: Distribution,
        contexts: Tensor,
        samples: int,
        comparators: int,
        active: np.ndarray,
        baseline: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.judge, self.uniforms, self.opponent = judge, uniforms, opponent
        self.contexts, self.samples, self.comparators = contexts, samples, comparators
        self.active, self.baseline = active, baseline
        self.queries = 0  # compared pairs, per seed

    def actions(self, policy: Distribution) -> tuple[Tensor, float]:
        return self._draw(policy, self.samples), 1 / self.samples

    def pairs(self, first: Distribution, second: Distribution) -> tuple[Tensor, Tensor, float]:
        half = self.samples // 2
        if first is second:
            drawn = self._draw(first, 2 * half)
            return drawn[..., :half], drawn[..., half:], 1 / half
        return self._draw(first, half), self._draw(second, half), 1 / half

    def spread(self, policy: Distribution, value: Callable[[Tensor], Tensor]) -> Tensor:
        first, second, weight = self.pairs(policy, policy)
        return weight * (value(first) - value(second)).square().sum(-1)

    def against_opponent(self, actions: Tensor) -> Tensor:
        opponents = self._draw(self.opponent, self.comparators * actions.shape[-1])
        gains = self.duel(actions.repeat_interleave(self.comparators, -1), opponents)
        return gains.view(*actions.shape, self.comparators).mean(-1)

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        self.queries += first[0].numel()
        return self.judge(self.contexts, first, second, self.active)

    def centred(self, gain: Tensor) -> Tensor:
        return self.baseline(gain, self.contexts)

    def _draw(self, policy: Distribution, count: int) -> Tensor:
        return policy.sample(self.uniforms(self.contexts.shape[1], count, active=self.active))


class Enumerated:
    """All actions, with their probabilities as weights: expectations without noise.

    Args:
        game: answers exactly.
        answer: returns y -> P(y > opponent) - 1/2, (S, X, Y), and charges for it.
        contexts: (S, B).
    """

    def __init__(self, game: FiniteGame, answer: Callable[[], Tensor], contexts: Tensor) -> None:
        self.game, self.answer, self.contexts = game, answer, contexts
        self.queries = 0  # evaluations of y -> P(y > y') by duels, per seed

    def actions(self, policy: Distribution) -> tuple[Tensor, Tensor]:
        assert isinstance(policy, Categorical)
        weights = policy.log_probabilities.detach().exp()
        return self.contexts.new_tensor(range(weights.shape[-1])).expand(weights.shape), weights

    def pairs(self, first: Distribution, second: Distribution) -> tuple[Tensor, Tensor, Tensor]:
        (actions, weights), (_, other_weights) = self.actions(first), self.actions(second)
        n = weights.shape[-1]
        joint = weights[..., :, None] * other_weights[..., None, :]
        return actions.repeat_interleave(n, -1), actions.repeat(1, 1, n), joint.flatten(-2)

    def spread(self, policy: Distribution, value: Callable[[Tensor], Tensor]) -> Tensor:
        actions, weights = self.actions(policy)
        values = value(actions)
        mean = (weights * values).sum(-1, keepdim=True)
        return 2 * (weights * (values - mean).square()).sum(-1)  # twice the variance, without listing all pairs

    def against_opponent(self, actions: Tensor) -> Tensor:
        return rows(self.answer(), self.contexts).gather(-1, actions)

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        self.queries += len(self.game.items)
        return self.game.compare(self.contexts, first, second)

    def centred(self, gain: Tensor) -> Tensor:
        return gain

"""The exact engine: the proximal step to rounding, one preference query each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nlhf.numerics import simplex
from nlhf.policies.tabular import LeaderPolicy, TabularPolicy, after_each_answer
from nlhf.prox.base import Parts, ProxFamily, ProximalProblem
from nlhf.prox.engine import ProxEngine

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.policies.base import Policy, TrainablePolicy


@dataclass(frozen=True)
class ExactProx(ProxFamily):
    """The closed form with exact answers: one query evaluates y -> P(y > opponent) in every context."""

    needs = frozenset({"advantage", "enumerate", "table"})
    provides = frozenset({"answers", "exact", "leads", "local"})

    def engine(self, parts: Parts[FiniteGame]) -> ProxEngine:
        return ClosedForm(parts)


class ClosedForm(ProxEngine):
    """The step of the regulariser; for the reverse KL it has the closed form

    log pi+ = (log anchor + lambda beta log reference + lambda A opponent) / (1 + lambda beta) - log Z.
    """

    def __init__(self, parts: Parts[FiniteGame]) -> None:
        super().__init__(parts)
        self.game = parts.game
        self._weights: tuple[Tensor | None, Tensor | None, tuple[Any, ...]] = (None, None, ())

    def solve(self, problem: ProximalProblem) -> TabularPolicy:
        return self.step_for(self.advantage(problem.opponent), problem.anchor, problem.step_size)

    def step_for(self, gain: Tensor, anchor: Policy, step_size: Tensor) -> TabularPolicy:
        """A proximal step for a gain of every action (S, X, Y), whatever it comes from."""
        for_step, for_beta, weights = self._weights
        if for_step is not step_size or for_beta is not self.beta:  # the weights of the last two tensors are cached
            weights = self.regulariser.weights(self.beta, step_size)
            self._weights = (step_size, self.beta, weights)
        step = self.regulariser.step(
            anchor.log_probabilities,
            self.reference.log_probabilities,
            gain,
            *weights,
            self.game.tree,
        )
        return TabularPolicy(step)

    def local_step(self, policy: Policy, step_size: Tensor) -> TrainablePolicy:
        if (tree := self.game.tree) is None:
            return super().local_step(policy, step_size)
        step = tree.local_step(
            policy.log_probabilities,
            self.reference.log_probabilities,
            self.advantage(policy),
            self.beta,
            *simplex.step_weights(self.beta, self.step(step_size)),
        )
        return TabularPolicy(step)

    def follow(self, policy: TrainablePolicy, step_size: Tensor) -> LeaderPolicy:
        assert isinstance(policy, LeaderPolicy)
        assert self.follower_beta is not None
        self.ledger.charge(policy.actions, self.active)  # an answer y' -> P(y' > y) for every y
        reference = TabularPolicy(after_each_answer(self.reference.log_probabilities))
        problems = self.regularised(self.follower_beta, reference)
        return replace(policy, follower=problems.step_for(-self._table.flatten(1, 2), policy.follower, step_size))

    def lead(self, policy: TrainablePolicy, step_size: Tensor) -> LeaderPolicy:
        assert isinstance(policy, LeaderPolicy)
        assert self.follower_beta is not None
        follower = policy.follower.log_probabilities.view(*policy.log_probabilities.shape, -1)
        values = simplex.value_against(follower, self._table, self.reference.log_probabilities, self.follower_beta)
        step = self.step_for(values, policy, step_size)
        return replace(policy, log_probabilities=step.log_probabilities)

    @cached_property
    def _table(self) -> Tensor:
        """P(y > y') - 1/2 of all pairs, float64 (1 or S, X, Y, Y)."""
        return self.game.dense().to(self.beta)

    def largest_gain(self, answer: Tensor) -> Tensor:
        return simplex.largest(answer, self.game.tree)[..., None]

    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        return self.game.payoff(self.opponent(policy).probabilities), 1

    def opponent(self, policy: Policy) -> Policy:
        """The policy that an opponent plays: in a tree, a mixture of policies becomes the nearest policy."""
        if (tree := self.game.tree) is None or not tree.replies:
            return policy
        return TabularPolicy(tree.nearest(policy.log_probabilities))

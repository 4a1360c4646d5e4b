"""A table of log-probabilities; gradient steps treat them as logits of a softmax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from nlhf.policies.base import Memory, PolicyFamily, TrainablePolicy
from nlhf.policies.distributions import Categorical, rows

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame


@dataclass(frozen=True, eq=False)
class TabularPolicy(TrainablePolicy):
    """Log-probabilities (S, X, Y), normalised over the last dimension; they are also its parameters."""

    log_probabilities: Tensor
    memory: Memory | None = None

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"logits": self.log_probabilities}

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> TabularPolicy:
        return TabularPolicy(parameters["logits"].log_softmax(-1), memory)

    def with_follower(self, follower: TrainablePolicy | None = None) -> TrainablePolicy:
        follower = follower or TabularPolicy(after_each_answer(self.log_probabilities))
        assert isinstance(follower, TabularPolicy)
        return LeaderPolicy(self.log_probabilities, self.memory, follower=follower)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Categorical:
        if parameters is None:
            return Categorical(rows(self.log_probabilities, contexts))
        return Categorical(rows(parameters["logits"], contexts).log_softmax(-1))


@dataclass(frozen=True, eq=False)
class LeaderPolicy(TabularPolicy):
    """A leader, with a follower that sees the leader's answer and gives another one.

    Args:
        follower: its contexts are pairs of a context and the leader's answer in it, (S, X Y, Y).
    """

    follower: TabularPolicy = field(kw_only=True)

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> LeaderPolicy:
        return replace(self, log_probabilities=parameters["logits"].log_softmax(-1), memory=memory)

    def with_follower(self, follower: TrainablePolicy | None = None) -> TrainablePolicy:
        return self if follower is None else super().with_follower(follower)

    def after(self, contexts: Tensor, answers: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Categorical:
        pairs = contexts[..., None] * self.actions + answers  # the follower's contexts
        return self.follower.at(pairs.flatten(1), parameters)


def after_each_answer(log_policy: Tensor) -> Tensor:
    """The same distribution after every answer: log-probabilities (S, X, Y) -> (S, X Y, Y)."""
    return log_policy.repeat_interleave(log_policy.shape[-1], 1)


@dataclass(frozen=True)
class Tabular(PolicyFamily):
    """A table with one entry per seed, context and action; it starts at the reference."""

    provides: ClassVar[frozenset[str]] = frozenset({"enumerate", "table", "gradient", "sample", "sees"})

    def initial(
        self,
        log_reference: Tensor,
        game: FiniteGame,
        held_out: tuple[Tensor, Tensor] | None,
        seeds: list[int],
    ) -> TabularPolicy:
        return TabularPolicy(log_reference)

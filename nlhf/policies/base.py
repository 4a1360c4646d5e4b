"""A policy is an immutable value: for every seed and context, a distribution over the actions.

Policies are compared by identity, since answers of the preference model are stored by policy object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nlhf.config import ConfigError
from nlhf.policies.distributions import Categorical, rows

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.policies.distributions import Distribution

Advice = dict[str, str | float | None]  # defaults of prox=gradient by their keys


@dataclass(frozen=True)
class Memory:
    """The state of the optimiser that trained a policy.

    Args:
        step: number of steps so far.
        moments: by parameter and quantity; the seeds are the first dimension.
    """

    step: int
    moments: dict[str, dict[str, Tensor]]


class Policy:
    """Base of all policies; subclasses are frozen dataclasses.

    A policy over listed actions has `log_probabilities`; every other method follows from it. A policy whose actions
    cannot be listed implements `at`, `per_seed` and `actions`.
    """

    if TYPE_CHECKING:

        @property
        def log_probabilities(self) -> Tensor:
            """log pi(y | x), float64 (S, X, Y), normalised over the last dimension."""

    memory: Memory | None = None  # of the optimiser that trained it
    listed: ClassVar[bool] = True  # False if its actions cannot be listed

    @cached_property
    def probabilities(self) -> Tensor:
        """pi(y | x), shape (S, X, Y)."""
        return self.log_probabilities.exp()

    @property
    def held_out(self) -> Tensor | None:
        """log pi(y | x) at held-out contexts, (S, X', Y); None for a policy that is not defined there."""
        return None

    def per_seed(self) -> Tensor:
        """A zero for every seed, float64 (S, 1, 1)."""
        return self.log_probabilities.new_zeros(len(self.log_probabilities), 1, 1)

    @property
    def actions(self) -> int:
        """The number of actions."""
        return self.log_probabilities.shape[-1]

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Distribution:
        """The distributions at contexts (S, B), or at all of them.

        Args:
            parameters: replace the policy's parameters; the result is differentiable in them.
        """
        return Categorical(rows(self.log_probabilities, contexts))

    def after(self, contexts: Tensor, answers: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Distribution:
        """The follower's distributions after answers (S, B, k) at contexts (S, B): those of B k contexts.

        By default the policy's own, whatever the answers.

        Args:
            parameters: replace the follower's parameters; the result is differentiable in them.
        """
        return self.at(contexts.repeat_interleave(answers.shape[-1], 1), parameters)

    def at_work(self, template: Policy) -> Policy:
        """This policy with the parts of `template` that a checkpoint does not store."""
        return self

    def stored(self, actions: Tensor) -> Any:
        """Actions as a checkpoint holds them; another process may give them other numbers."""
        return actions

    def loaded(self, content: Any) -> Tensor:
        """The actions that `stored` returned."""
        actions: Tensor = content
        return actions

    def save(self, folder: Path) -> None:
        """Write files for other programs, in addition to the log-probabilities."""

    def __getstate__(self) -> dict[str, Any]:
        """The fields only: a checkpoint does not store derived values."""
        return {name: self.__dict__[name] for name in getattr(self, "__dataclass_fields__", ())}


class TrainablePolicy(Policy, ABC):
    """Base of the policies with parameters that training changes."""

    if TYPE_CHECKING:

        @property
        def follower(self) -> TrainablePolicy:
            """The policy with the parameters that a follower's steps train, if this is a leader."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters, with the seeds as first dimension; empty for a policy that stays fixed."""

    @abstractmethod
    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> Self:
        """The same kind of policy with other parameters."""

    @property
    def sound(self) -> bool:
        """True if the parameters have not overflowed; a table may contain -inf."""
        return not any(bool((value.isnan() | value.isposinf()).any()) for value in self.parameters.values())

    def with_follower(self, follower: TrainablePolicy | None = None) -> TrainablePolicy:
        """This policy as a leader, with a follower; by default with one that gives the same answers.

        Raises: ConfigError, unless the class implements it.
        """
        raise ConfigError(f"a {type(self).__name__} has no follower: set policy=tabular, or policy=causal_lm.")

    def towards(self, target: Self, weight: Tensor) -> Self:
        """This policy with parameters interpolated towards `target` by `weight` (S, 1, 1) in [0, 1]."""
        start, end = self.parameters, target.parameters
        return self.trained({name: start[name].lerp(end[name], weight.to(start[name])) for name in start}, None)


@dataclass(frozen=True)
class PolicyFamily(ABC):
    """Base of the choices of `policy=<name>`: the class of policies of a run. Subclasses are frozen dataclasses.

    Args:
        gradient: defaults of prox=gradient for this family: learning_rate, decay_steps, clip, contexts, samples.
        budget: limits of budget=short, default and long for this family, where they differ from the engine's.

    Class attributes: a run that ends by its query budget before `few_iterations` logs a warning.
    """

    gradient: Advice | None = field(default=None, kw_only=True, compare=False)  # loaded models are cached by policy
    budget: dict[str, dict[str, int | None]] | None = field(default=None, kw_only=True, compare=False)

    few_iterations: ClassVar[int] = 100
    provides: ClassVar[frozenset[str]]
    needs: ClassVar[frozenset[str]] = frozenset()
    random: ClassVar[bool] = False  # True if the seed draws the initial policy
    averaged: ClassVar[bool] = True  # True if the average of the iterates is a usable policy
    spares_memory: ClassVar[str] = "fewer seeds at once, or a smaller game"

    @property
    def caveat(self) -> str | None:
        """Why measured values may differ from those of the trained policy, for summary.json; None if they do not."""
        return None

    @abstractmethod
    def initial(
        self,
        log_reference: Tensor,
        game: FiniteGame,
        held_out: tuple[Tensor, Tensor] | None,
        seeds: list[int],
    ) -> TrainablePolicy:
        """The policy that a run starts from.

        Args:
            log_reference: (S, X, Y).
            game: has the features of the contexts.
            held_out: reference (S, X', Y) and features (1 or S, X', d) of the held-out contexts.
            seeds: S of them, for random initial values.
        """


def at_work(state: Any, template: Policy) -> Any:
    """A state from a checkpoint whose policies have the parts of `template` that a checkpoint does not store."""
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    return replace(state, **{name: _at_work(value, template) for name, value in values.items()})


def _at_work(value: Any, template: Policy) -> Any:
    """`at_work` for a value of a state: a policy, policies by name, or anything else, which stays."""
    if isinstance(value, dict):
        return {name: _at_work(entry, template) for name, entry in value.items()}
    return value.at_work(template) if isinstance(value, Policy) else value

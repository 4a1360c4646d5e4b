"""A policy is an immutable value: for every seed and context, a distribution over the actions.

Two policies are the same only if they are the same object: answers of the preference model are remembered by object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nlhf.numerics import simplex

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nlhf.games.protocol import FiniteGame

Advice = dict[str, str | float | None]  # defaults of prox=gradient by their keys


@dataclass(frozen=True)
class Memory:
    """What an optimiser remembers of the steps that led to a policy.

    Args:
        step: how many.
        moments: by parameter and quantity; the seeds are the first dimension.
    """

    step: int
    moments: dict[str, dict[str, Tensor]]


class Policy:
    """What every policy over finitely many actions can say of itself; subclasses are frozen dataclasses."""

    if TYPE_CHECKING:

        @property
        def log_probabilities(self) -> Tensor:
            """log pi(y | x), float64 (S, X, Y), normalised over the last dimension."""

    memory: Memory | None = None  # of the optimiser that trained it

    @cached_property
    def probabilities(self) -> Tensor:
        """pi(y | x), shape (S, X, Y)."""
        return self.log_probabilities.exp()

    @property
    def held_out(self) -> Tensor | None:
        """log pi(y | x) at contexts that it was not trained on, (S, X', Y); None where it has nothing to say there."""
        return None

    def per_seed(self) -> Tensor:
        """A zero for every seed, float64 (S, 1, 1)."""
        return self.log_probabilities.new_zeros(len(self.log_probabilities), 1, 1)

    @property
    def actions(self) -> int:
        """How many there are."""
        return self.log_probabilities.shape[-1]

    @property
    def trainable(self) -> bool:
        """Does it have parameters that gradient steps change?"""
        return False

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What training changes, the seeds as first dimension."""
        raise NotImplementedError(f"{type(self).__name__} has no parameters")

    @property
    def sound(self) -> bool:
        """Are its parameters free of overflow? Those of a table may be -inf."""
        return not any(bool((value.isnan() | value.isposinf()).any()) for value in self.parameters.values())

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> Self:
        """A policy of this kind with other parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no parameters")

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Categorical:
        """The distributions at contexts (S, B), or at all of them; differentiable in `parameters`, where they take the
        place of its own."""
        return Categorical(rows(self.log_probabilities, contexts))

    def towards(self, other: Self, weight: Tensor) -> Self:
        """Its parameters, moved to those of `other` by `weight` (S, 1, 1) in [0, 1]: a moving target."""
        mine, others = self.parameters, other.parameters
        return self.trained({name: mine[name].lerp(others[name], weight.to(mine[name])) for name in mine}, None)

    def at_work(self, like: Policy) -> Policy:
        """This policy with what a checkpoint does not hold, as `like` has it."""
        return self

    def save(self, folder: Path) -> None:
        """Write what log-probabilities do not tell of it, for other programs to load."""

    def __getstate__(self) -> dict[str, Any]:
        """Fields alone: what can be derived again is not written to a checkpoint."""
        return {name: self.__dict__[name] for name in getattr(self, "__dataclass_fields__", ())}


@dataclass(frozen=True, eq=False)
class Categorical:
    """Distributions over the actions at some contexts: log-probabilities (S, B, Y)."""

    log_probabilities: Tensor

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probabilities of actions (S, B, k)."""
        return self.log_probabilities.expand(len(actions), -1, -1).gather(-1, actions)  # seeds may share a table

    def sample(self, uniforms: Tensor) -> Tensor:
        """Actions (S, B, k) by inversion of the distribution function, from numbers (S, B, k) on [0, 1)."""
        import torch

        mass = self.log_probabilities.detach().exp().cumsum(-1)
        levels = uniforms.to(mass) * mass[..., -1:]
        return torch.searchsorted(mass, levels, right=True).clamp_(max=mass.shape[-1] - 1)

    def detached(self) -> Categorical:
        """The same, constant."""
        return Categorical(self.log_probabilities.detach())

    def mixed(self, other: Categorical, weight: Tensor) -> Categorical:
        """The geometric mixture with another one; weight (S, 1, 1) in [0, 1]."""
        mine = self.log_probabilities
        return Categorical(simplex.geometric_mixture(mine, other.log_probabilities.to(mine), weight.to(mine)))


@dataclass(frozen=True, eq=False)
class GeometricMixture(Policy):
    """The policy proportional to first^(1-weight) second^weight (Nash-MD's opponent); weight (S, 1, 1) in [0, 1]."""

    first: Policy
    second: Policy
    weight: Tensor

    @cached_property
    def log_probabilities(self) -> Tensor:
        return simplex.geometric_mixture(self.first.log_probabilities, self.second.log_probabilities, self.weight)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Categorical:
        return self.first.at(contexts).mixed(self.second.at(contexts), self.weight)


@dataclass(frozen=True)
class PolicyFamily(ABC):
    """What `policy=<name>` builds: the family a run's policies belong to. Subclasses are frozen dataclasses.

    Args:
        gradient: defaults of prox=gradient for this family: learning_rate, decay_steps, clip, contexts, samples.
        budget: limits of budget=short, default and long for this family, where those of the engine do not fit.

    Class attributes: a run that its query budget ends after fewer than `few_iterations` says so.
    """

    gradient: Advice | None = field(default=None, kw_only=True, compare=False)  # loaded models are cached by policy
    budget: dict[str, dict[str, int | None]] | None = field(default=None, kw_only=True, compare=False)

    few_iterations: ClassVar[int] = 100
    provides: ClassVar[frozenset[str]]
    needs: ClassVar[frozenset[str]] = frozenset()
    random: ClassVar[bool] = False  # does the seed draw the initial policy?
    averaged: ClassVar[bool] = True  # is the average of the iterates a policy that one could use?
    spares_memory: ClassVar[str] = "fewer seeds at once, or a smaller game"

    @abstractmethod
    def initial(self, log_reference: Tensor, game: FiniteGame, held_out: tuple[Tensor, Tensor] | None,
                seeds: list[int]) -> Policy:  # fmt: skip
        """The policy that a run starts from.

        Args:
            log_reference: (S, X, Y).
            game: its contexts' features are what a policy can know of them.
            held_out: reference (S, X', Y) and features (1 or S, X', d) of contexts that it is not trained on.
            seeds: S of them; they draw what is drawn.
        """


def rows(table: Tensor, contexts: Tensor | None) -> Tensor:
    """The rows (S, B, Y) of a table (1 or S, X, Y) at contexts (S, B), or all of them."""
    if contexts is None:
        return table
    width = table.shape[-1]
    places = simplex.stacked(contexts, *table.shape[:2])
    return table.reshape(-1, width).index_select(0, places.reshape(-1)).view(*contexts.shape, width)


def at_work(state: Any, like: Policy) -> Any:
    """A state from a checkpoint, its policies at work again."""
    found = {field.name: getattr(state, field.name) for field in fields(state)}
    return replace(state, **{name: p.at_work(like) for name, p in found.items() if isinstance(p, Policy)})


def choose(mask: Tensor, first: Any, second: Any, policies: Callable[[Policy, Policy], Policy] | None = None) -> Any:
    """`first` where `mask` is true and `second` elsewhere, for values of one type built of dataclasses, dicts and
    tensors with the seeds as first dimension; `policies` chooses between two policies. A mask (S) is of seeds, one
    (S, X, 1) of contexts of tables.

    What belongs to the batch (a number of steps, what has no counterpart) is taken from `first`."""
    if first is second:
        return first
    if policies and isinstance(first, Policy):
        return policies(first, second)
    if hasattr(first, "__dataclass_fields__") and type(first) is type(second):
        pairs = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(first)}
        return replace(first, **{name: choose(mask, *pair, policies) for name, pair in pairs.items()})
    if isinstance(first, dict) and isinstance(second, dict):
        return {name: choose(mask, value, second[name], policies) for name, value in first.items()}
    if hasattr(first, "where") and hasattr(second, "where"):
        return first.where(mask if mask.ndim > 1 else mask.view(-1, *[1] * (first.ndim - 1)), second)
    return first

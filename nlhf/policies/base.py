"""A policy is an immutable value: for every seed and context, a distribution over the actions.

Two policies are the same only if they are the same object: answers of the preference model are remembered by object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from nlhf import simplex

if TYPE_CHECKING:
    from torch import Tensor


class Policy:
    """What every policy over finitely many actions can say of itself; subclasses are frozen dataclasses."""

    if TYPE_CHECKING:

        @property
        def log_probabilities(self) -> Tensor:
            """log pi(y | x), shape (S, X, Y), normalised over the last dimension."""

    @cached_property
    def probabilities(self) -> Tensor:
        """pi(y | x), shape (S, X, Y)."""
        return self.log_probabilities.exp()

    def __getstate__(self) -> dict[str, Any]:
        """Fields alone: what can be derived again is not written to a checkpoint."""
        return {name: self.__dict__[name] for name in getattr(self, "__dataclass_fields__", ())}


@dataclass(frozen=True, eq=False)
class GeometricMixture(Policy):
    """The policy proportional to first^(1-weight) second^weight (Nash-MD's opponent); weight (S, 1, 1) in [0, 1]."""

    first: Policy
    second: Policy
    weight: Tensor

    @cached_property
    def log_probabilities(self) -> Tensor:
        return simplex.geometric_mixture(self.first.log_probabilities, self.second.log_probabilities, self.weight)


class PolicyFamily(ABC):
    """What `policy=<name>` builds: the family a run's policies belong to. Subclasses are frozen dataclasses."""

    provides: ClassVar[frozenset[str]]
    random: ClassVar[bool] = False  # does the seed draw the initial policy?

    @abstractmethod
    def initial(self, log_reference: Tensor) -> Policy:
        """The policy that a run starts from; `log_reference` has shape (S, X, Y)."""


def choose(mask: Tensor, first: Any, second: Any, policies: Callable[[Policy, Policy], Policy] | None = None) -> Any:
    """`first` in the seeds where `mask` (S) is true and `second` elsewhere, for values of one type built of dataclasses
    and of tensors with the seeds as first dimension; `policies` makes the choice between two policies."""
    if first is second:
        return first
    if policies and isinstance(first, Policy):
        return policies(first, second)
    if hasattr(first, "__dataclass_fields__"):
        pairs = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(first)}
        return replace(first, **{name: choose(mask, *pair, policies) for name, pair in pairs.items()})
    return first.where(mask.view(-1, *[1] * (first.ndim - 1)), second)

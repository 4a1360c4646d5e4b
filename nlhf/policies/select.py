"""Selection between two values seed by seed: policies, states of algorithms, averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from nlhf.policies.base import Policy

if TYPE_CHECKING:
    from torch import Tensor


def choose(mask: Tensor, first: Any, second: Any, policies: Callable[[Policy, Policy], Policy] | None = None) -> Any:
    """`first` where `mask` is true, else `second`, for nested dataclasses, dicts and tensors of the same type.

    Values that do not differ by seed, such as a number of steps, are taken from `first`.

    Args:
        mask: of seeds (S), or of contexts of tables (S, X, 1).
        first, second: values whose tensors have the seeds as their first dimension.
        policies: selects between two policies; by default they are treated as any other dataclass.
    """
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

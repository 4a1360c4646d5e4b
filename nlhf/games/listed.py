"""Shared parts of games whose actions can be listed: a base class, moving tensors, numbered names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar, overload

if TYPE_CHECKING:
    import numpy as np
    import torch
    from _typeshed import DataclassInstance

Game = TypeVar("Game", bound="DataclassInstance")


@dataclass(frozen=True, eq=False)
class Listed:
    """Base of games with listed actions and without features of contexts.

    Args:
        items, contexts: names.
    """

    items: Sequence[str]
    contexts: tuple[str, ...]

    votes: ClassVar[None] = None
    clusters: ClassVar[None] = None
    wins: ClassVar[None] = None
    features: ClassVar[None] = None
    tree: ClassVar[None] = None
    is_bilinear: ClassVar[bool] = True
    joinable: ClassVar[bool] = False

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """None beside the tables."""
        return {}

    @property
    def linear(self) -> Self:
        """The game itself: it is played for P."""
        return self

    def split(self) -> tuple[Self, None]:
        """The game itself: nothing is held out."""
        return self, None

    def to(self, where: torch.device | torch.dtype) -> Self:
        """The same game on another device, or with its numbers in another precision."""
        return moved(self, where)


def moved(game: Game, where: torch.device | torch.dtype) -> Game:
    """A game with its tensors on another device, or its floating-point tensors in another precision.

    If nothing changes, the result is the game itself, with its cached values.
    """
    tensors = {field.name: value for field in fields(game) if hasattr(value := getattr(game, field.name), "to")}
    converted = {
        name: value.to(where)
        for name, value in tensors.items()
        if value.is_floating_point() or not hasattr(where, "itemsize")
    }
    return replace(game, **converted) if any(tensors[name] is not value for name, value in converted.items()) else game


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """Names `prefix0`, `prefix1`, ... that are computed on request, for many actions."""

    prefix: str
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self.size)[index]
        if isinstance(numbers, int):
            return f"{self.prefix}{numbers}"
        return [f"{self.prefix}{number}" for number in numbers]


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """Names `prefix0`, `prefix1`, ... for items or contexts without names."""
    return tuple(Numbered(prefix, count))

"""What games whose actions can be listed have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Listed:
    """What games of listed actions without features of their contexts have in common.

    Args:
        items, contexts: names.
    """

    items: Sequence[str]
    contexts: tuple[str, ...]

    votes: ClassVar[None] = None
    wins: ClassVar[None] = None
    features: ClassVar[None] = None

    def split(self) -> tuple[Self, None]:
        """Nothing is held out."""
        return self, None

    def to(self, where: torch.device | torch.dtype) -> Self:
        """The same game on another device, or with its numbers in another precision."""
        return moved(self, where)  # type: ignore[no-any-return]


def moved(game: Any, where: torch.device | torch.dtype) -> Any:
    """A game with its tensors on another device, or in another precision, which whole numbers have not; the game
    itself, with what it has worked out, where they are there already."""
    tensors = {field.name: value for field in fields(game) if hasattr(value := getattr(game, field.name), "to")}
    there = {name: value.to(where) for name, value in tensors.items()
             if value.is_floating_point() or not hasattr(where, "itemsize")}  # fmt: skip
    return replace(game, **there) if any(tensors[name] is not value for name, value in there.items()) else game


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """The names of `numbered` where they are too many to be written down."""

    prefix: str
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...

    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        found = range(self.size)[place]
        return f"{self.prefix}{found}" if isinstance(found, int) else [f"{self.prefix}{index}" for index in found]


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """Names for things that have none."""
    return tuple(Numbered(prefix, count))

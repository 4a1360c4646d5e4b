"""A game answers preference queries; a game family, what `game=<name>` builds, makes the instance of every seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, overload

import numpy as np

from nlhf.config import ConfigError
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    import torch
    from torch import Tensor


COMPLEMENTARY = 1e-6  # by how much P + P^T may differ from 1
LARGEST_DENSE = 1 << 26  # entries up to which a structured game is written down for those who ask
STRUCTURED = 1 << 13  # actions from which a family that can does without matrices


class FiniteGame(Protocol):
    """A game whose contexts and actions can be listed. S seeds, X contexts, Y actions."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts."""

    @property
    def items(self) -> Sequence[str]:
        """Names of the actions."""

    @property
    def votes(self) -> np.ndarray | None:
        """Votes behind each pair of the first instance and how many of them are ties, (2, X, Y, Y), or None."""

    @property
    def wins(self) -> np.ndarray | None:
        """Counted wins of rows over columns of every kept instance, (1 or S, X, Y, Y), or None."""

    @property
    def features(self) -> Tensor | None:
        """What a policy can know of the contexts, (1 or S, X, d), or None."""

    @property
    def content(self) -> Tensor:
        """What the game is made of, the instances as first dimension."""

    @property
    def work(self) -> int:
        """Multiplications of a query for one seed."""

    def payoff(self, probabilities: Tensor) -> Tensor:
        """y -> P(y > policy | x) - 1/2 for probabilities (S, X, Y), shape (S, X, Y), as precise as its own numbers are
        and of the type of the question."""

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """P(first > second | context) - 1/2 for contexts (S, B) and actions (S, B, k), shape (S, B, k)."""

    def split(self) -> tuple[FiniteGame, FiniteGame | None]:
        """The game on the contexts that are trained on, and that on the held-out ones, if there are any."""

    def to(self, where: torch.device | torch.dtype) -> FiniteGame:
        """The same game on another device, or with its numbers in another precision."""

    def dense(self) -> Tensor:
        """The advantages A = P - 1/2 of the kept instances, shape (1 or S, X, Y, Y), rows preferred to columns."""


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
class PreferenceTable:
    """Preference probabilities P(row > column | context), shape (X, n, n), with the names of items and contexts.

    `features`, where contexts have any, has shape (X, d). The last `held_out` contexts are for testing only.

    Where P comes from counted votes, `votes` (2, X, n, n) has the number of votes on each pair and how many of them are
    ties, and `wins` (X, n, n) how often the row won, ties as half wins, with pseudo-votes: what a model of the votes is
    fitted to.
    """

    preference: np.ndarray
    items: tuple[str, ...]
    contexts: tuple[str, ...]
    features: np.ndarray | None = None
    votes: np.ndarray | None = None
    wins: np.ndarray | None = None
    held_out: int = 0


class GameFamily(ABC):
    """Base of the game families; subclasses are frozen dataclasses whose fields are the keys of conf/game/<name>.yaml.

    A family whose instances fit in a matrix defines `table`, one that can do without defines `structured`.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"advantage", "enumerate", "pairs"})
    needs: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def random(self) -> bool:
        """Does the seed draw the instance?"""

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        """One instance; only a `random` family may draw from `rng`."""
        raise NotImplementedError(f"{type(self).__name__} is not held as a matrix")

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        """The game of one stream per instance without a matrix; None where a matrix serves it."""
        return None

    def build(self, seeds: list[int]) -> FiniteGame:
        """The game of these seeds: one instance each, or a single one that they share."""
        from nlhf.games.check import check_table
        from nlhf.games.matrix import MatrixGame

        streams = [stream(seed, "game") for seed in (seeds if self.random else seeds[:1])]
        if (game := self.structured(streams)) is not None:
            return game
        drawn = [self.table(rng) for rng in streams]
        for table in drawn:
            check_table(table, f"game={type(self).__name__}")
        if len({(instance.items, instance.contexts) for instance in drawn}) > 1:
            raise ConfigError("the seeds' instances have different items: choose game options that keep all items.")
        return MatrixGame.from_tables(drawn)


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


def antisymmetric(upper: np.ndarray) -> np.ndarray:
    """Preference probabilities (X, n, n) from those above the diagonal: 1/2 on it, complements below."""
    below = np.tril(1 - upper.swapaxes(1, 2), k=-1)
    return np.asarray(np.triu(upper, k=1) + below + 0.5 * np.eye(upper.shape[1]))


def check_size(least: int = 2, **sizes: int) -> None:
    """Refuse a size of the game that is below `least`."""
    for name, size in sizes.items():
        if size < least:
            raise ConfigError(f"game.{name}={size} is too small: give at least {least}.")


def check_dense(instances: int, actions: int) -> None:
    """Refuse to write down matrices that are too large.

    Raises: ConfigError.
    """
    if instances * actions**2 > LARGEST_DENSE:
        raise ConfigError(f"game.actions={actions} is too much for a matrix, which this choice needs: give fewer, or "
                          "choose equilibrium=never and reference=uniform.")  # fmt: skip


def check_spread(**spreads: float) -> None:
    """Refuse a standard deviation that is negative or infinite."""
    for name, spread in spreads.items():
        if not 0 <= spread < float("inf"):
            raise ConfigError(f"game.{name}={spread} is no spread: give a finite number >= 0.")


def check_preference(preference: np.ndarray, source: str, note: str = "") -> np.ndarray:
    """An array (n, n) or (X, n, n) of preference probabilities as (X, n, n) float64.

    Args:
        preference: the array.
        source: names it in messages.
        note: ends the message about P + P^T.

    Raises: ConfigError for a wrong shape, one item only, entries that are not numbers in [0, 1], or P + P^T != 1
    (tolerance 1e-6, as tables are printed with few digits).
    """
    table = np.asarray(preference)
    if table.dtype.kind not in "fiu":
        raise ConfigError(f"{source} holds {table.dtype}, not numbers: give preference probabilities in [0, 1].")
    table = np.array(table, dtype=np.float64, ndmin=3)
    if table.ndim != 3 or table.shape[1] != table.shape[2] or 0 in table.shape:
        raise ConfigError(f"{source} has shape {np.shape(preference)}: give a square matrix (n, n), or (X, n, n).")
    if table.shape[1] == 1:
        raise ConfigError(f"{source} has one item only, and nothing to prefer it to: give at least two.")
    for problem, wrong in (
        ("is not a number", ~np.isfinite(table)),
        ("is outside [0, 1]", (table < 0) | (table > 1)),
        ("and its opposite do not sum to 1", np.abs(table + table.swapaxes(1, 2) - 1) > COMPLEMENTARY),
    ):
        if wrong.any():
            where = tuple(int(index) for index in np.argwhere(wrong)[0])
            entry = where[1:] if table.shape[0] == 1 else where
            raise ConfigError(
                f"{source}: entry {list(entry)} = {table[where]:g} {problem}: entries are probabilities that the row "
                f"is preferred to the column, with P + P^T = 1{note if 'sum' in problem else ''}."
            )
    return table

"""A game answers preference queries; a game family, what `game=<name>` builds, makes the instance of every seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nlhf.config import ConfigError
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    pass
from nlhf.games.check import check_table
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame

LARGEST_DENSE = 1 << 26  # entries up to which a structured game is written down for those who ask
STRUCTURED = 1 << 13  # actions from which a family that can does without matrices


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
        streams = [stream(seed, "game") for seed in (seeds if self.random else seeds[:1])]
        if (game := self.structured(streams)) is not None:
            return game
        from nlhf.games.matrix import MatrixGame  # torch

        drawn = [self.table(rng) for rng in streams]
        for table in drawn:
            check_table(table, f"game={type(self).__name__}")
        if len({(instance.items, instance.contexts) for instance in drawn}) > 1:
            raise ConfigError("the seeds' instances have different items: choose game options that keep all items.")
        return MatrixGame.from_tables(drawn)


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

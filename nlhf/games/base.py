"""Game families, the choices of `game=<name>`: each builds the instance of every seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.check import check_table
from nlhf.games.payoff import CLIP, Payoff, PayoffName
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.numerics.streams import stream

LARGEST_DENSE = 1 << 26  # entries up to which a game without a matrix builds one on request
STRUCTURED = 1 << 13  # actions above which a family avoids matrices if it can


@dataclass(frozen=True)
class GameFamily(ABC):
    """Base of the game families; subclasses are frozen dataclasses whose fields are the keys of conf/game/<name>.yaml.

    A family defines `table` for instances that fit in a matrix, `structured` for instances without a matrix, or both.

    Args:
        payoff: what is played for: `linear`, P itself; `logit`, log-odds of P; `sign`, majorities.
        clip: smallest P of the logit, in (0, 1/2).
    """

    payoff: PayoffName = field(default="linear", kw_only=True)
    clip: float = field(default=CLIP, kw_only=True)

    needs: ClassVar[frozenset[str]] = frozenset()

    @property
    def provides(self) -> frozenset[str]:
        """The queries that its games answer, `bilinear` if an answer about a policy is A policy, and `one-turn`."""
        return frozenset({"advantage", "bilinear", "enumerate", "one-turn", "pairs"})

    @property
    def action_count(self) -> int | None:
        """The number of actions, if the config has it."""
        return getattr(self, "actions", None)

    @property
    @abstractmethod
    def random(self) -> bool:
        """True if the seed draws the instance."""

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        """One instance; only a `random` family may draw from `rng`."""
        raise ConfigError(f"game={type(self).__name__} defines neither `table` nor `structured`: define one.")

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        """The game without a matrix, from one stream per instance; None if a matrix fits."""
        return None

    def build(self, seeds: list[int]) -> FiniteGame:
        """The game of these seeds: one instance each, or one shared instance."""
        payoff = Payoff(self.payoff, self.clip)
        streams = [stream(seed, "game") for seed in (seeds if self.random else seeds[:1])]
        if (game := self.structured(streams)) is not None:
            if self.payoff != "linear":
                raise ConfigError(
                    f"game.payoff={self.payoff} needs the table of all pairs, which this game does not build: set "
                    "game.payoff=linear, or choose a game of pairs with fewer actions."
                )
            return game
        from nlhf.games.matrix import MatrixGame  # torch

        drawn = [self.table(rng) for rng in streams]
        for table in drawn:
            check_table(table, f"game={type(self).__name__}")
        if len({(instance.items, instance.contexts) for instance in drawn}) > 1:
            raise ConfigError("the seeds' instances have different items: choose game options that keep all items.")
        return MatrixGame.from_tables(drawn).played_for(payoff)

    @property
    def payoff_unit(self) -> float:
        """Twice the largest payoff that a preference can have, 1 for P itself."""
        return Payoff(self.payoff, self.clip).unit


def check_size(smallest: int = 2, **sizes: int) -> None:
    """Refuse a size of the game that is below `smallest`."""
    for name, size in sizes.items():
        if size < smallest:
            raise ConfigError(f"game.{name}={size} is too small: give at least {smallest}.")


def check_dense(instances: int, actions: int, remedy: str = "choose equilibrium=never and reference=uniform") -> None:
    """Refuse to build matrices that are too large.

    Args:
        remedy: what to do instead of giving fewer actions.

    Raises: ConfigError.
    """
    if instances * actions**2 > LARGEST_DENSE:
        raise ConfigError(
            f"game.actions={actions} is too many for a matrix, which this choice needs: give fewer, or {remedy}."
        )


def check_spread(**spreads: float) -> None:
    """Refuse a standard deviation that is negative or infinite."""
    for name, spread in spreads.items():
        if not 0 <= spread < float("inf"):
            raise ConfigError(f"game.{name}={spread} is out of range: give a finite number >= 0.")

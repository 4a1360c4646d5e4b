"""Odd cycles: every action beats the (n-1)/2 before it. At n = 3: paper beats rock, scissors paper, rock scissors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable


@dataclass(frozen=True)
class RockPaperScissors(GameFamily):
    """One game for all seeds; its unregularised equilibrium is uniform.

    Args:
        actions: an odd number n >= 3.
        win_probability: of an action against those that it beats, in [0, 1].
    """

    actions: int
    win_probability: float

    random = False

    def __post_init__(self) -> None:
        if self.actions < 3 or self.actions % 2 == 0:
            raise ConfigError(f"game.actions={self.actions} makes no cycle: give an odd number from 3 on.")
        if not 0 <= self.win_probability <= 1:
            raise ConfigError(f"game.win_probability={self.win_probability} is out of range: give one in [0, 1].")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        action = np.arange(self.actions)
        ahead = (action[:, None] - action) % self.actions
        wins = np.where(ahead <= self.actions // 2, self.win_probability, 1 - self.win_probability)
        names = ("rock", "paper", "scissors") if self.actions == 3 else numbered("action", self.actions)
        return PreferenceTable(np.where(ahead == 0, 0.5, wins)[None], names, ("all",))

"""Deterministic tournaments: every pair has a certain winner, drawn by a fair coin, one instance per seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.games.base import GameFamily, check_size
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable, antisymmetric


@dataclass(frozen=True)
class DeterministicTournament(GameFamily):
    """P(y > y') is 0 or 1, each with probability 1/2, for y < y'.

    Args:
        actions: n >= 2.
    """

    actions: int

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        coin = rng.random((1, self.actions, self.actions)) < 0.5
        return PreferenceTable(antisymmetric(coin.astype(float)), numbered("action", self.actions), ("all",))

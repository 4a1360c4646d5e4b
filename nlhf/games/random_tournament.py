"""Random tournaments: every pair's preference probability is drawn uniformly from [0, 1], one instance per seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, PreferenceTable, numbered


@dataclass(frozen=True)
class RandomTournament(GameFamily):
    """P(y > y') ~ Uniform[0, 1] independently for y < y', the opposite its complement.

    Args:
        actions: n >= 2.
        contexts: X >= 1, independent instances.
    """

    actions: int
    contexts: int

    random = True

    def __post_init__(self) -> None:
        if self.actions < 2:
            raise ConfigError(f"game.actions={self.actions} leaves nothing to choose: give at least 2.")
        if self.contexts < 1:
            raise ConfigError(f"game.contexts={self.contexts} leaves nothing to answer: give at least 1.")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        drawn = rng.random((self.contexts, self.actions, self.actions))
        upper = np.triu(drawn, k=1)
        lower = np.tril(1 - drawn.swapaxes(1, 2), k=-1)
        preference = upper + lower + 0.5 * np.eye(self.actions)
        return PreferenceTable(preference, numbered("action", self.actions), numbered("context", self.contexts))

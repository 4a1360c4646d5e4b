"""A cycle at the top: three items beat each other in a circle, and all of them beat each of the others.

The unregularised equilibrium is uniform on the three items. Votes on the others change nothing, so that rules which ask
for votes on pairs differ most here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, check_size
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable, antisymmetric

TOP = 3


@dataclass(frozen=True)
class TopCycle(GameFamily):
    """One game for all seeds. The items below the cycle tie.

    Args:
        actions: n >= 3.
        win_probability: of each winner, in [1/2, 1].
    """

    actions: int
    win_probability: float

    random = False

    def __post_init__(self) -> None:
        check_size(smallest=TOP, actions=self.actions)
        if not 0.5 <= self.win_probability <= 1:
            raise ConfigError(f"game.win_probability={self.win_probability} is out of range: give one in [0.5, 1].")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        wins = np.full((1, self.actions, self.actions), 0.5)
        wins[:, :TOP] = self.win_probability
        wins[:, 0, TOP - 1] = 1 - self.win_probability
        return PreferenceTable(antisymmetric(wins), numbered("action", self.actions), ("all",))

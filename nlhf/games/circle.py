"""The circle: actions at angles t on a circle, each certain to beat the half circle behind it, A = sign(sin(t - t'))/2.

The hardest game known for large steps: self-play cycles on it for beta < 1/pi, the spectral norm of A/n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.games.base import GameFamily, check_size
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable


@dataclass(frozen=True)
class Circle(GameFamily):
    """Equally spaced angles, the same game for every seed; P is 1/2 for opposite actions (n even).

    Args:
        actions: n >= 3.
    """

    actions: int

    random = False

    def __post_init__(self) -> None:
        check_size(smallest=3, actions=self.actions)

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        action = np.arange(self.actions)
        ahead = (action[:, None] - action) % self.actions
        wins = np.where(2 * ahead < self.actions, 1.0, 0.0)
        wins[(ahead == 0) | (2 * ahead == self.actions)] = 0.5
        return PreferenceTable(wins[None], numbered("angle", self.actions), ("all",))

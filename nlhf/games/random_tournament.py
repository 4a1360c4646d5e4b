"""Random tournaments: every pair's preference probability is drawn uniformly from [0, 1], one instance per seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.games.base import GameFamily, check_size
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable, antisymmetric


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
        check_size(actions=self.actions)
        check_size(smallest=1, contexts=self.contexts)

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        preference = antisymmetric(rng.random((self.contexts, self.actions, self.actions)))
        return PreferenceTable(preference, numbered("action", self.actions), numbered("context", self.contexts))

"""The rule that asks about all pairs equally often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.asking.base import AskingRule, filled


@dataclass(frozen=True)
class UniformRule(AskingRule):
    """Levels the numbers of votes: pairs with the fewest votes come first."""

    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        return filled(votes, np.ones_like(votes, dtype=float), batch, rng)

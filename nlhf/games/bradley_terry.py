"""Bradley-Terry models: preferences from scores, P(y > y') = sigmoid(score_y - score_y'), averaged over annotators.

One annotator is transitive. The mean of several annotators with different scores can be intransitive, although each
of them is transitive: Condorcet's paradox.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED, check_size, check_spread
from nlhf.games.competitive import CompetitiveFamily
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.numerics.bradley_terry import sigmoid


@dataclass(frozen=True)
class BradleyTerry(CompetitiveFamily):
    """P is the mean over annotators of their Bradley-Terry preferences, scores normal, one instance per seed.

    Args:
        actions: n >= 2.
        annotators: K >= 1; 1 makes the game transitive.
        scale: standard deviation of the scores.
        competitors: k, for the game against k competitors: annotators then pick the answer with their highest score
            among k + 1 (nlhf/games/competition.py). null compares pairs, with the chances of Bradley-Terry.
    """

    actions: int
    annotators: int
    scale: float

    random = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(actions=self.actions)
        check_spread(scale=self.scale)
        if self.annotators < 1:
            raise ConfigError(f"game.annotators={self.annotators} is too small: give at least 1.")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        scores = self._scores(rng)
        preference = np.zeros((1, self.actions, self.actions))
        for score in scores:
            preference += sigmoid(score[:, None] - score) / self.annotators
        return PreferenceTable(preference, numbered("action", self.actions), ("all",))

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if self.competitors is not None:
            from nlhf.games.competition import CompetitionGame

            scores = [self._scores(rng) for rng in streams]
            equal = [np.ones(self.annotators)] * len(scores)
            return CompetitionGame.of(scores, equal, self.competitors, numbered("action", self.actions))
        if self.actions <= STRUCTURED:
            return None
        from nlhf.games.linked import scored

        return scored([self._scores(rng) for rng in streams])

    def _scores(self, rng: np.random.Generator) -> np.ndarray:
        """(K, n)."""
        return self.scale * rng.standard_normal((self.annotators, self.actions))

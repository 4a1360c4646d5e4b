"""Games of ratings: P(a > b) = 1 / (1 + 10^(-(rating of a - rating of b) / 400)), a Bradley-Terry model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED, GameFamily
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.io.inputs import InputFile
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.votes.ratings import read_ratings

UNITS = {"elo": math.log(10) / 400, "natural": 1.0}  # log-odds in a unit of the ratings


@dataclass(frozen=True)
class Ratings(GameFamily):
    """Preferences from ratings of items, without votes.

    Args:
        path: the file, with the columns item (or name, model) and rating (or elo, score).
        drop: items to leave out.
        unit: `elo` for P = 1 / (1 + 10^(-D/400)) at a difference D of ratings, `natural` for P = 1 / (1 + e^-D).
        columns: the file's own names of columns, as {item: player}; null if it has those of its format.
    """

    path: InputFile | None
    drop: list[str]
    unit: Literal["elo", "natural"]
    columns: dict[str, str] | None = None

    random = False

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        scores = np.array(list(self._scores.values()))
        return PreferenceTable(sigmoid(scores[:, None] - scores)[None], tuple(self._scores), ("all",))

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if len(self._scores) <= STRUCTURED:
            return None
        from nlhf.games.linked import scored

        return replace(scored([np.array([list(self._scores.values())])]), items=tuple(self._scores))

    @cached_property
    def _scores(self) -> dict[str, float]:
        """The log-odds of every item against one with the rating 0."""
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE, as a CSV with item,rating.")
        ratings = read_ratings(self.path, self.columns or {}, self.drop)
        return {item: rating * UNITS[self.unit] for item, rating in ratings.items()}

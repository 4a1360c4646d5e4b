"""General preferences, P(y > y') = sigmoid(<R v_y, v_y'>) with embeddings v, and the spinning top.

R rotates every pair of coordinates by a right angle: the general preference model (arXiv:2410.02197). A spinning top
adds a transitive part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED, GameFamily, check_size, check_spread
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.numerics.bradley_terry import sigmoid


@dataclass(frozen=True)
class GeneralPreference(GameFamily):
    """Normal embeddings, one instance per seed.

    Args:
        actions: n >= 2.
        dimension: of the embeddings, even.
        scale: standard deviation of the logits of P.
    """

    actions: int
    dimension: int
    scale: float

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)
        check_spread(scale=self.scale)
        if self.dimension < 2 or self.dimension % 2:
            raise ConfigError(f"game.dimension={self.dimension} is not an even number >= 2: give one.")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        logits = self.scale / np.sqrt(self.dimension) * skew_products(self._embedding(rng))
        return PreferenceTable(sigmoid(logits)[None], numbered("action", self.actions), ("all",))

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if self.actions <= STRUCTURED:
            return None
        from nlhf.games.linked import tiled

        size = np.sqrt(self.scale / np.sqrt(self.dimension))
        return tiled([size * self._embedding(rng) for rng in streams])

    def _embedding(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.actions, self.dimension))


@dataclass(frozen=True)
class SpinningTop(GameFamily):
    """From transitive to cyclic: logits (1 - cyclicity) (s_y - s_y') + cyclicity <R v_y, v_y'>, v on a circle.

    Args:
        actions: n >= 2.
        cyclicity: 0 is a Bradley-Terry model, 1 a soft circle.
        scale: standard deviation of the logits, about the same at both ends.
    """

    actions: int
    cyclicity: float
    scale: float

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)
        check_spread(scale=self.scale)
        if not 0 <= self.cyclicity <= 1:
            raise ConfigError(f"game.cyclicity={self.cyclicity} is out of range: give a number in [0, 1].")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        score, circle = self._drawn(rng)
        transitive = (score[:, None] - score) / np.sqrt(2)
        cyclic = np.sqrt(2) * skew_products(circle)
        logits = self.scale * ((1 - self.cyclicity) * transitive + self.cyclicity * cyclic)
        return PreferenceTable(sigmoid(logits)[None], numbered("action", self.actions), ("all",))

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if self.actions <= STRUCTURED:
            return None
        from nlhf.games.linked import tiled

        return tiled([self._embedding(*self._drawn(rng)) for rng in streams])

    def _drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n) and points on the circle (n, 2)."""
        score = rng.standard_normal(self.actions)
        angle = rng.uniform(0, 2 * np.pi, self.actions)
        return score, np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def _embedding(self, score: np.ndarray, circle: np.ndarray) -> np.ndarray:
        """Both parts as pairs of coordinates (n, 4); a difference of scores is the skew product of (1, s), (1, t)."""
        transitive = np.stack([np.ones_like(score), self.scale * (1 - self.cyclicity) / np.sqrt(2) * score], axis=1)
        return np.concatenate([transitive, np.sqrt(self.scale * self.cyclicity * np.sqrt(2)) * circle], axis=1)


def skew_products(embedding: np.ndarray) -> np.ndarray:
    """<R v_y, v_y'> for embeddings (..., n, 2d): exactly skew-symmetric, shape (..., n, n)."""
    even, odd = embedding[..., 0::2], embedding[..., 1::2]
    forward = odd @ even.swapaxes(-1, -2)
    return np.asarray(forward - forward.swapaxes(-1, -2))

"""Games of low rank: advantages A = U J U^T without a matrix, with a query in O(n d).

Row y of U holds the d features of an action, J is block-diagonal with blocks [[0, 1], [-1, 0]]: A is skew-symmetric for
any U, and what an action gains against a policy is linear in the policy's mean features. The linear cousin of the
general preference model (arXiv:2410.02197), which has a sigmoid around the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, check_dense, check_size, check_spread
from nlhf.games.listed import Listed, Numbered, numbered
from nlhf.numerics import simplex

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1 << 16  # actions that are drawn at once


@dataclass(frozen=True)
class LowRank(GameFamily):
    """Features on a sphere of radius sqrt(1/2): normal vectors, shifted in one coordinate and rescaled; |A| <= 1/2.

    The shift keeps preferences of the mean action from vanishing as actions are added.

    Args:
        actions: n >= 2.
        rank: d of A, even.
        contexts: independent games.
        shift: of the first coordinate, in standard deviations; at 0 the equilibrium of many actions is the reference.
    """

    actions: int
    rank: int
    contexts: int
    shift: float

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)
        check_size(1, contexts=self.contexts)
        check_spread(shift=self.shift)
        if self.rank < 2 or self.rank % 2:
            raise ConfigError(f"game.rank={self.rank}: a skew-symmetric matrix has an even rank; give 2, 4, ...")

    def structured(self, streams: list[np.random.Generator]) -> LowRankGame:
        import torch

        features = np.empty((len(streams), self.contexts, self.actions, self.rank))
        for rows, rng in zip(features, streams, strict=True):
            self._draw(rows.reshape(-1, self.rank), rng)
        return LowRankGame(
            Numbered("action", self.actions), numbered("context", self.contexts), torch.from_numpy(features)
        )

    def _draw(self, rows: np.ndarray, rng: np.random.Generator) -> None:
        """Fill rows (m, d) in blocks, so that the first rows do not depend on the number of rows."""
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            rng.standard_normal(out=block)
            block[:, 0] += self.shift
            block /= np.sqrt(2 * np.einsum("id,id->i", block, block))[:, None]


@dataclass(frozen=True, eq=False)
class LowRankGame(Listed):
    """Features (G, X, n, d), float64, of every action; G is 1 if the seeds share the instance."""

    factors: Tensor

    joinable: ClassVar[bool] = True

    @property
    def content(self) -> Tensor:
        return self.factors

    @property
    def work(self) -> int:
        return 2 * self.factors[0].numel()

    def payoff(self, probabilities: Tensor) -> Tensor:
        """y -> U_y^T J (U^T pi), two passes over U."""
        mean = self._mean(probabilities.to(self.factors))
        return (self.factors @ turned(mean)[..., None])[..., 0].to(probabilities)

    def _mean(self, probabilities: Tensor) -> Tensor:
        """The mean features (S, X, d) of policies (S, X, n)."""
        return (probabilities[..., None, :] @ self.factors)[..., 0, :]

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        row, column = self._rows(contexts, first), self._rows(contexts, second)
        return (row * turned(column)).sum(-1)

    def _rows(self, contexts: Tensor, actions: Tensor) -> Tensor:
        """Features (S, B, k, d) of actions (S, B, k) in contexts (S, B)."""
        games, count, n, rank = self.factors.shape
        rows = simplex.stacked(contexts, games, count)[..., None] * n + actions
        return self.factors.view(-1, rank)[rows]

    def dense(self) -> Tensor:
        games, contexts, n, _ = self.factors.shape
        check_dense(games * contexts, n)
        product = self.factors @ turned(self.factors).mT
        return (product - product.mT) / 2  # exactly skew-symmetric


def turned(vectors: Tensor) -> Tensor:
    """J z for vectors z (..., d): (z_1, -z_0, z_3, -z_2, ...)."""
    pairs = vectors.reshape(*vectors.shape[:-1], -1, 2)
    flipped = pairs.flip(-1)
    flipped[..., 1].neg_()
    return flipped.view(vectors.shape)

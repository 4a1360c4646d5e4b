"""Sigmoid-linked preferences of many actions, evaluated without a matrix: A = tanh(logits / 2) / 2.

`TiledGame` computes the logits <R v_y, v_y'> of a general preference model (arXiv:2410.02197) tile by tile without
storing them, in O(n^2 d) time and O(n) memory; A is skew-symmetric, so each tile is used for both triangles.

`ScoreGame` is a mixture of Bradley-Terry models, in O(n) time. As a function of one score, sigmoid(s - t) is analytic
in the strip |Im s| < pi: on a cell of length 1 the polynomial through m Chebyshev points has an error of about 12.6^-m
in both arguments, and a sum over all actions becomes sums over cells and points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nlhf.games.base import check_dense
from nlhf.games.listed import Listed, Numbered, moved
from nlhf.games.low_rank import turned
from nlhf.numerics import simplex

TILE = 512  # actions on either side of a tile
ENTRIES = 1 << 20  # of the tiles of all contexts that are processed together
FAR = 38  # cells; at this distance a sigmoid is 0 or 1 to rounding
POINTS = 14  # Chebyshev points of a cell: exact to rounding


@dataclass(frozen=True, eq=False)
class TiledGame(Listed):
    """Embeddings (G, X, n, 2d), float64, of every action; logits are skew products of pairs of coordinates."""

    embedding: Tensor

    joinable: ClassVar[bool] = True

    @property
    def content(self) -> Tensor:
        return self.embedding

    @property
    def work(self) -> int:
        return self.embedding[0].numel() * len(self.items)

    def payoff(self, probabilities: Tensor) -> Tensor:
        return self._summed(probabilities.to(self.embedding)).to(probabilities)

    def _summed(self, probabilities: Tensor) -> Tensor:
        total, width = torch.zeros_like(probabilities), self.embedding.shape[-1]
        buffer = probabilities.new_empty(0)  # for one tile: allocating each tile would cost more than computing it
        for contexts, rows, columns in self._tiles():
            first, second = self._turned[:, contexts, rows], self.embedding[:, contexts, columns]
            shape = (*first.shape[:-1], second.shape[-2])
            if buffer.numel() < math.prod(shape):
                buffer = buffer.new_empty(math.prod(shape))
            tile = buffer[: math.prod(shape)].view(-1, *shape[2:])
            torch.bmm(first.reshape(-1, shape[2], width), second.reshape(-1, shape[3], width).mT, out=tile)
            tile = tile.tanh_().view(shape)
            total[:, contexts, rows] += (tile @ probabilities[:, contexts, columns, None])[..., 0]
            if rows != columns:
                total[:, contexts, columns] -= (tile.mT @ probabilities[:, contexts, rows, None])[..., 0]
        return total.mul_(0.5)

    @cached_property
    def _turned(self) -> Tensor:
        """R v / 2 of every action, so that one product gives half of the logits."""
        return turned(self.embedding).mul_(0.5)

    def _tiles(self) -> Iterator[tuple[slice, slice, slice]]:
        """Contexts, rows and columns of every tile on or above the diagonal."""
        games, count, n, _ = self.embedding.shape
        side = min(n, TILE)
        together = max(1, ENTRIES // (games * side * side))
        parts = [slice(start, min(start + side, n)) for start in range(0, n, side)]
        for first in range(0, count, together):
            for index, rows in enumerate(parts):
                for columns in parts[index:]:
                    yield slice(first, first + together), rows, columns

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        games, count, n, width = self.embedding.shape
        offsets = simplex.stacked(contexts, games, count)[..., None] * n
        table = self.embedding.view(-1, width)
        return linked(table[offsets + first][..., None, :], table[offsets + second][..., None, :])[..., 0, 0]

    def dense(self) -> Tensor:
        games, contexts, n, _ = self.embedding.shape
        check_dense(games * contexts, n)
        matrix = linked(self.embedding, self.embedding)
        return (matrix - matrix.mT) / 2


def tiled(embeddings: Sequence[np.ndarray]) -> TiledGame:
    """The game of one embedding (n, 2d) per instance, in one context."""
    table = torch.from_numpy(np.stack(embeddings)[:, None])
    return TiledGame(Numbered("action", table.shape[2]), ("all",), table)


def scored(scores: Sequence[np.ndarray]) -> ScoreGame:
    """The game of scores (K, n) per instance."""
    table = torch.from_numpy(np.stack(scores))
    return ScoreGame(Numbered("action", table.shape[2]), ("all",), table)


def linked(first: Tensor, second: Tensor) -> Tensor:
    """sigmoid(<R v, w>) - 1/2 for embeddings v (..., k, 2d) and w (..., m, 2d), shape (..., k, m)."""
    return (turned(first).mul_(0.5) @ second.mT).tanh_().mul_(0.5)


@dataclass(frozen=True, eq=False)
class ScoreGame(Listed):
    """The mean over K annotators of sigmoid(score - score') - 1/2; scores (G, K, n), float64; one context.

    Large scores and sums over a cell need float64, so `to` ignores other precisions.
    """

    scores: Tensor

    joinable: ClassVar[bool] = True

    @property
    def content(self) -> Tensor:
        return self.scores

    @property
    def work(self) -> int:
        return 2 * POINTS * self.scores[0].numel()

    def to(self, where: torch.device | torch.dtype) -> ScoreGame:
        return self if isinstance(where, torch.dtype) else moved(self, where)

    def payoff(self, probabilities: Tensor) -> Tensor:
        total = torch.zeros_like(probabilities)
        for seed, mass in enumerate(probabilities[:, 0]):
            for scale in self._scales[seed % len(self._scales)]:  # seeds may share one instance
                total[seed, 0] += scale(mass)
        return total.div_(self.scores.shape[1])

    @cached_property
    def _scales(self) -> list[list[_Scale]]:
        return [[_Scale(scores) for scores in annotators] for annotators in self.scores]

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        games, annotators, n = self.scores.shape
        at = torch.zeros_like(first) if games == 1 else torch.arange(games, device=first.device)[:, None, None]
        rows = self.scores.mT.reshape(-1, annotators)
        return ((rows[at * n + first] - rows[at * n + second]) / 2).tanh().mean(-1) / 2

    def dense(self) -> Tensor:
        games, _, n = self.scores.shape
        check_dense(games, n)
        gaps = self.scores[..., :, None] - self.scores[..., None, :]
        return gaps.div_(2).tanh_().mean(1, keepdim=True) / 2


class _Scale:
    """Sums of sigmoid(s_i - s_j) - 1/2 over j with weights, for all i at once.

    Args:
        scores: (n).
    """

    def __init__(self, scores: Tensor) -> None:
        position = scores - scores.min()
        self.cell = position.floor().long()
        cells = int(self.cell.max()) + 1
        angles = (torch.arange(POINTS, dtype=torch.float64) + 0.5) * (np.pi / POINTS)
        degrees = torch.arange(POINTS, dtype=torch.float64)[:, None]
        ticks = (angles.cos() + 1) / 2
        self.cells, self.reach = cells, min(FAR, cells - 1)
        apart = torch.arange(-self.reach, self.reach + 1)[:, None, None]
        self.kernel = ((apart + ticks[:, None] - ticks) / 2).tanh().div_(2).to(scores)  # (distance, point, point)
        weights = (degrees * angles).cos() * (2 - (degrees == 0).double()) / POINTS  # (degree, point)
        inside = (2 * (position - self.cell) - 1).clamp_(-1, 1).acos_()
        self.basis = weights.mT.to(scores) @ (degrees.to(scores) * inside).cos_()  # (point, action)

    def __call__(self, mass: Tensor) -> Tensor:
        """The sums (n) for weights (n)."""
        none = mass.new_zeros(self.cells)
        gathered = torch.stack([none.index_add(0, self.cell, mass * values) for values in self.basis], 1)
        sums = torch.zeros_like(gathered)
        for apart, kernel in enumerate(self.kernel, -self.reach):
            near, far = (slice(max(0, way * apart), self.cells + min(0, way * apart)) for way in (1, -1))
            sums[near] += gathered[far] @ kernel.mT
        below = gathered.sum(1).cumsum(0)  # in cells further away, the sigmoid is 0 or 1
        if (count := self.cells - self.reach - 1) > 0:
            sums[-count:] += below[:count, None] / 2
            sums[:count] -= (below[-1] - below[-count - 1 : -1, None]) / 2
        result = torch.zeros_like(mass)
        for values, column in zip(self.basis, sums.mT, strict=True):
            result.addcmul_(values, column.contiguous()[self.cell])
        return result

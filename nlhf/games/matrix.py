"""Games held as matrices: the only module that touches one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlhf.games.base import PreferenceTable


@dataclass(frozen=True, eq=False)
class MatrixGame:
    """One matrix of advantages per instance and context.

    `against[g, x, y', y]` = P(y > y' | x) - 1/2, float64 (G, X, n, n): indexed by the opponent's action first, because
    a product of a row with a matrix is the fastest of its kind for batches. G is 1 where the seeds share the instance.
    """

    against: Tensor
    items: tuple[str, ...]
    contexts: tuple[str, ...]

    @classmethod
    def from_tables(cls, tables: list[PreferenceTable]) -> MatrixGame:
        """The game of these instances. A = (P - P^T)/2, skew-symmetric to the bit."""
        first = tables[0]
        against = torch.empty((len(tables), *first.preference.shape), dtype=torch.float64)
        for index, table in enumerate(tables):
            preference = torch.from_numpy(np.ascontiguousarray(table.preference, dtype=np.float64))
            torch.sub(preference.mT, preference, out=against[index])
        return cls(against.mul_(0.5), first.items, first.contexts)

    def to(self, device: torch.device) -> MatrixGame:
        """The same game on another device."""
        return MatrixGame(self.against.to(device), self.items, self.contexts)

    def payoff(self, probabilities: Tensor) -> Tensor:
        games, contexts, n, _ = self.against.shape
        seeds = probabilities.shape[0]
        if seeds == contexts == 1:  # a batched product of one is slower than a plain one
            return (probabilities.view(n) @ self.against.view(n, n)).view(1, 1, n)
        if games == 1:  # seeds share the matrix: one product of matrices per context
            together = torch.bmm(probabilities.transpose(0, 1), self.against[0])  # (X, S, n)
            return together.transpose(0, 1)
        rows = torch.bmm(probabilities.reshape(-1, 1, n), self.against.view(-1, n, n))
        return rows.view(seeds, contexts, n)

    def dense(self) -> Tensor:
        return self.against.mT

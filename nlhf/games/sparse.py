"""Games of many items with votes on few pairs: P is 1/2 for all other pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nlhf.games.base import check_dense
from nlhf.games.listed import Listed


@dataclass(frozen=True, eq=False)
class SparseGame(Listed):
    """A game with P = 1/2 except for E ordered pairs; the seeds share it.

    Args:
        keys: (context n + row) n + column of each, ascending, int64 (E).
        values: P(row > column) - 1/2, float64 (E).
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def of(
        cls, wins: Mapping[tuple[int, int, int], float], contexts: tuple[str, ...], items: tuple[str, ...]
    ) -> SparseGame:
        """From P(first > second) of pairs (context, first, second), each in one order."""
        n = len(items)
        advantages = {(x * n + i) * n + j: share - 0.5 for (x, i, j), share in wins.items()}
        advantages |= {(x * n + j) * n + i: 0.5 - share for (x, i, j), share in wins.items()}
        keys = torch.tensor(sorted(advantages), dtype=torch.int64)
        return cls(items, contexts, keys, torch.tensor([advantages[key] for key in keys.tolist()], dtype=torch.float64))

    @property
    def content(self) -> Tensor:
        return torch.stack([self.keys.double(), self.values])[None]

    @property
    def work(self) -> int:
        return len(self.values)

    def payoff(self, probabilities: Tensor) -> Tensor:
        n = len(self.items)
        rows, columns = self.keys // n, self.keys % n
        columns = columns + (rows // n) * n  # index in the flattened contexts
        flat = probabilities.to(self.values).reshape(len(probabilities), -1)
        gains = self.values * flat[:, columns]
        return torch.zeros_like(flat).index_add_(1, rows, gains).view(probabilities.shape).to(probabilities)

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        n = len(self.items)
        pairs = (contexts[..., None] * n + first) * n + second
        indices = torch.searchsorted(self.keys, pairs).clamp_(max=len(self.keys) - 1)
        return self.values[indices].where(self.keys[indices] == pairs, 0.0)

    def dense(self) -> Tensor:
        contexts, n = len(self.contexts), len(self.items)
        check_dense(contexts, n)
        matrix = self.values.new_zeros(contexts * n * n)
        matrix[self.keys] = self.values
        return matrix.view(1, contexts, n, n)

"""Games stored as matrices; only this module works on the matrix itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nlhf.games.listed import moved
from nlhf.games.payoff import Payoff
from nlhf.games.preference import PreferenceTable
from nlhf.numerics import simplex
from nlhf.numerics.tree import Tree
from nlhf.stats.vote_clusters import Clusters


@dataclass(frozen=True, eq=False)
class MatrixGame:
    """One matrix of advantages per instance and context.

    `advantage[g, x, y, y']` = P(y > y' | x) - 1/2, float64 (G, X, n, n), contiguous; G is 1 if the seeds share the
    instance. `features` has shape (G, X, d). The last `held_out` contexts are for testing. If another payoff than P is
    played for, `advantage` is that payoff over twice the largest one, and `preference` is P - 1/2. With a
    `tree`, actions are conversations of several turns.
    """

    advantage: Tensor
    items: tuple[str, ...]
    contexts: tuple[str, ...]
    votes: np.ndarray | None = None
    wins: np.ndarray | None = None
    clusters: Clusters | None = None
    features: Tensor | None = None
    held_out: int = 0
    preference: Tensor | None = None
    tree: Tree | None = None

    @classmethod
    def from_tables(cls, tables: list[PreferenceTable]) -> MatrixGame:
        """The game of these instances. A = (P - P^T)/2, exactly skew-symmetric."""
        first = tables[0]
        advantage = torch.empty((len(tables), *first.preference.shape), dtype=torch.float64)
        for index, table in enumerate(tables):
            preference = torch.from_numpy(np.ascontiguousarray(table.preference, dtype=np.float64))
            torch.sub(preference, preference.mT, out=advantage[index])
        features = None if first.features is None else torch.tensor(np.array([table.features for table in tables]))
        wins = None if first.wins is None else np.stack([table.wins for table in tables if table.wins is not None])
        return cls(
            advantage.mul_(0.5),
            first.items,
            first.contexts,
            first.votes,
            wins,
            first.clusters,
            features,
            first.held_out,
        )

    is_bilinear: ClassVar[bool] = True
    joinable: ClassVar[bool] = True

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """None beside the tables."""
        return {}

    def played_for(self, payoff: Payoff) -> MatrixGame:
        """The game of these preferences with another payoff."""
        if payoff.name == "linear":
            return self
        return replace(
            self, advantage=torch.from_numpy(payoff.scaled(self.advantage.numpy())), preference=self.advantage
        )

    @property
    def linear(self) -> MatrixGame:
        """The game of the same preferences that is played for P itself."""
        return self if self.preference is None else replace(self, advantage=self.preference, preference=None)

    @property
    def content(self) -> Tensor:
        return self.advantage

    @property
    def work(self) -> int:
        return self.advantage[0].numel()

    def to(self, where: torch.device | torch.dtype) -> MatrixGame:
        """The same game on another device, or with its numbers in another precision."""
        return moved(self, where)

    def split(self) -> tuple[MatrixGame, MatrixGame | None]:
        if not self.held_out:
            return self, None
        trained = len(self.contexts) - self.held_out
        return self._part(slice(0, trained)), self._part(slice(trained, None))

    def _part(self, contexts: slice) -> MatrixGame:
        return replace(
            self,
            advantage=self.advantage[:, contexts].contiguous(),
            contexts=self.contexts[contexts],
            votes=None if self.votes is None else self.votes[:, contexts],
            wins=None if self.wins is None else self.wins[:, contexts],
            preference=None if self.preference is None else self.preference[:, contexts].contiguous(),
            features=None if self.features is None else self.features[:, contexts],
            held_out=0,
        )

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        games, count, n, _ = self.advantage.shape
        matrices = simplex.stacked(contexts, games, count)
        return self.advantage.view(-1).take((matrices[..., None] * n + first) * n + second)

    def payoff(self, probabilities: Tensor) -> Tensor:
        return self._products(probabilities.to(self.advantage)).to(probabilities)

    def _products(self, probabilities: Tensor) -> Tensor:
        games, contexts, n, _ = self.advantage.shape
        seeds = probabilities.shape[0]
        if seeds == contexts == 1:  # a batched product of one is slower than a plain one
            return (self.advantage.view(n, n) @ probabilities.view(n)).view(1, 1, n)
        if games == 1:  # seeds share the matrix: one product of matrices per context
            rows = probabilities.transpose(0, 1)  # (X, S, n); A is skew, and -rows A needs no transposed matrix
            return torch.baddbmm(rows, rows, self.advantage[0], beta=0, alpha=-1).transpose(0, 1)
        rows = probabilities.reshape(-1, 1, n)  # rows times A^T: up to twice as fast as A times columns
        return torch.bmm(rows, self.advantage.view(-1, n, n).mT).view(seeds, contexts, n)

    def dense(self) -> Tensor:
        return self.advantage

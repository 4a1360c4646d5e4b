"""Votes on pairs of items as arrays, with the unit of each row that is independent of the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class PairedVotes:
    """Votes on n items. Each row has votes on one pair; without clusters the votes of a row have the same outcome.

    Args:
        items: n.
        a, b: the items of every row, (R).
        votes: their number, (R).
        share: the share of votes for a, a tie half a vote, (R).
        cluster: the number of the cluster of every row, (R); None if every vote is independent.
        name: of a cluster, such as `annotator`.
    """

    items: int
    a: np.ndarray
    b: np.ndarray
    votes: np.ndarray
    share: np.ndarray
    cluster: np.ndarray | None = None
    name: str = ""

    @classmethod
    def independent(cls, wins: np.ndarray, ties: np.ndarray) -> PairedVotes:
        """Independent votes: up to three rows for each pair, its wins, losses and ties.

        Args:
            wins: of the row against the column, with ties as half wins, (n, n).
            ties: the number of ties on each pair, (n, n).
        """
        i, j = np.triu_indices(len(wins), 1)
        counts = np.stack([wins[i, j] - ties[i, j] / 2, wins[j, i] - ties[i, j] / 2, ties[i, j]])
        outcome, pair = np.nonzero(counts > 0)
        share = np.array([1.0, 0.0, 0.5])[outcome]
        return cls(len(wins), i[pair], j[pair], counts[outcome, pair], share)

    @classmethod
    def clustered(
        cls, items: int, a: np.ndarray, b: np.ndarray, wins: np.ndarray, cluster: np.ndarray, name: str
    ) -> PairedVotes:
        """Votes in clusters, added up for each cluster and pair.

        Args:
            items: n.
            a, b: the items of every row, (R).
            wins: of a and of b, (2, R).
            cluster: the number of the cluster of every row, (R), from 0.
            name: of a cluster.
        """
        first, second = np.minimum(a, b), np.maximum(a, b)
        wins = np.where(a < b, wins, wins[::-1])
        key = (cluster.astype(np.int64) * items + first) * items + second
        keys, row = np.unique(key, return_inverse=True)
        won, lost = (np.bincount(row, counts, len(keys)) for counts in wins)
        used = won + lost > 0
        keys, won, lost = keys[used], won[used], lost[used]
        groups, pair = np.divmod(keys, items**2)
        _, numbers = np.unique(groups, return_inverse=True)
        return cls(items, pair // items, pair % items, won + lost, won / (won + lost), numbers, name)

    @cached_property
    def wins(self) -> np.ndarray:
        """Wins of the row against the column, with ties as half wins, (n, n)."""
        size = self.items**2
        won = np.bincount(self.a * self.items + self.b, self.votes * self.share, size)
        lost = np.bincount(self.b * self.items + self.a, self.votes * (1 - self.share), size)
        return np.asarray((won + lost).reshape(self.items, self.items))

    @cached_property
    def units(self) -> int:
        """The number of independent votes or clusters."""
        return int(self.votes.sum()) if self.cluster is None else len(np.unique(self.cluster))

    @cached_property
    def sizes(self) -> np.ndarray:
        """The mean size of the clusters of the votes on each item, seen from a vote, (n); 1 for independent votes."""
        if self.cluster is None:
            return np.ones(self.items)
        counts = self._matrix(self.votes, self.votes, self.cluster)
        total = np.asarray(counts.sum(0)).ravel()
        squares = np.asarray(counts.power(2).sum(0)).ravel()
        return np.asarray(np.divide(squares, total, out=np.ones(self.items), where=total > 0))

    def units_of_items(self) -> np.ndarray:
        """The number of votes, or of clusters, behind each item, (n)."""
        if self.cluster is None:
            return np.asarray(np.bincount(np.concatenate([self.a, self.b]), np.tile(self.votes, 2), self.items))
        return np.asarray((self._matrix(self.votes, self.votes, self.cluster) > 0).sum(0), dtype=float).ravel()

    def contributions(self, residual: np.ndarray) -> sparse.csr_matrix:
        """The gradient of the log-likelihood that each unit adds, (units, n); equal votes share one row.

        The sum of the squares of its rows is the variance of the gradient.

        Args:
            residual: by how much the share of each row differs from the expected one, (R).
        """
        if self.cluster is None:
            return self._matrix(size := np.sqrt(self.votes) * residual, -size, np.arange(len(self.a)))
        return self._matrix(size := self.votes * residual, -size, self.cluster)

    def _matrix(self, of_a: np.ndarray, of_b: np.ndarray, row: np.ndarray) -> sparse.csr_matrix:
        rows, columns = np.concatenate([row, row]), np.concatenate([self.a, self.b])
        shape = int(row.max(initial=-1)) + 1, self.items
        return sparse.csr_matrix((np.concatenate([of_a, of_b]), (rows, columns)), shape)

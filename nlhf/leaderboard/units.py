"""Votes that may be alike as single observations: what a voter or a question says about a pair, as one share.

Votes of one cluster on one pair become one observation, the share of wins in [0, 1]. Observations of a pair in
different clusters are independent, whatever happens within a cluster. The bounds of every pair in
`nlhf.stats.certified` need no more, as they are added up over pairs; P is then the mean over clusters with equal
weights. The bound of mixtures adds the noise of several pairs, which one cluster may share, so it does not hold here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.votes.clusters import values_of
from nlhf.votes.file import Vote


@dataclass(frozen=True)
class Units:
    """Observations of clusters.

    Args:
        names: of the columns that name a cluster, as `question_id` or `prompt`.
        size: the number of clusters.
        clusters: the number of the cluster of each observation, (R).
        a, b: the numbers of the items, (R).
        shares: of wins of a, (R).
    """

    names: tuple[str, ...]
    size: int
    clusters: np.ndarray
    a: np.ndarray
    b: np.ndarray
    shares: np.ndarray

    @property
    def name(self) -> str:
        """The names of the columns as a text."""
        return ", ".join(self.names)

    def table(self, items: int, first: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Wins and numbers of observations, (n, n) each, in the first clusters."""
        rows = self.clusters < (self.size if first is None else first)
        a, b, shares = self.a[rows], self.b[rows], self.shares[rows]
        wins, votes = np.zeros((2, items, items))
        for won, i, j in ((shares, a, b), (1 - shares, b, a)):
            np.add.at(wins, (i, j), won)
            np.add.at(votes, (i, j), 1.0)
        return wins, votes


def units_of(cast: Sequence[Vote], items: Sequence[str], names: Sequence[str]) -> Units:
    """An observation for each pair and each value of the columns `names`, in the order of the votes.

    A row without a value is an observation of its own.
    """
    index = {item: number for number, item in enumerate(items)}
    clusters: dict[tuple[str, ...] | int, int] = {}
    totals: dict[tuple[int, int, int], list[float]] = {}
    for row, vote in enumerate(cast):
        i, j, wins_a, wins_b = index[vote.a], index[vote.b], vote.wins_a, vote.wins_b
        if wins_a + wins_b == 0:
            continue
        if i > j:
            i, j, wins_a, wins_b = j, i, wins_b, wins_a
        cells = values_of(vote, names)
        cluster = clusters.setdefault(cells if any(cells) else row, len(clusters))
        total = totals.setdefault((cluster, i, j), [0.0, 0.0])
        total[0] += wins_a
        total[1] += wins_b
    return units_of_shares(names, {key: wins / (wins + lost) for key, (wins, lost) in totals.items()})


def units_of_shares(names: Sequence[str], shares: Mapping[tuple[int, int, int], float]) -> Units:
    """Observations from shares of wins by (cluster, a, b); clusters without one are not counted."""
    keys = np.array(sorted(shares), dtype=np.int64).reshape(-1, 3)
    present, clusters = np.unique(keys[:, 0], return_inverse=True)
    values = np.array([shares[key] for key in sorted(shares)], dtype=float)
    return Units(tuple(names), len(present), clusters, keys[:, 1], keys[:, 2], values)

"""Votes in clusters: voters or questions whose votes may be alike, as independent units of a test or a bootstrap.

Under a null hypothesis with preferences P, the residual of a cluster is its wins minus its votes times P. Residuals of
different clusters are independent with mean zero, so each may change its sign: the sum of the residuals with random
signs has the variance of the true sum, however alike the votes within a cluster are. With symmetric residuals the test
is exact for any number of clusters. (The wild cluster bootstrap with the null imposed; C. Cameron, J. Gelbach,
D. Miller, Bootstrap-Based Improvements for Inference with Clustered Errors, 2008.) Up to ENUMERATED clusters all
signs are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

ENUMERATED = 10
FEWEST = 6  # clusters; with fewer, no two-sided p-value is below 0.05
REDRAWS = 1999
LARGEST = 1 << 26  # cells of the residuals; with more clusters and items, clusters are not used


@dataclass(frozen=True)
class Clusters:
    """The votes of C clusters on n items.

    Args:
        name: of a cluster, such as `value of annotator` or `prompt`.
        wins: of the row against the column in each cluster, (C, n, n).
        votes: the number of votes on each pair in each cluster, (C, n, n).
    """

    name: str
    wins: np.ndarray
    votes: np.ndarray

    def __len__(self) -> int:
        return len(self.wins)

    @property
    def total(self) -> np.ndarray:
        """The number of votes on each pair, (n, n)."""
        return np.asarray(self.votes.sum(0))

    @property
    def preference(self) -> np.ndarray:
        """P over all clusters, (n, n); 1/2 for pairs without a vote."""
        return _share(self.wins.sum(0), self.total)

    @property
    def enough(self) -> bool:
        """True if there are enough clusters for a test, and not too many cells."""
        return len(self) >= FEWEST and self.wins.size <= LARGEST

    def residuals(self, preference: np.ndarray) -> np.ndarray:
        """Wins of each cluster minus the wins that P leads one to expect, (C, n, n)."""
        return np.asarray(self.wins - self.votes * preference)

    def errors(self, preference: np.ndarray, redraws: int = REDRAWS, seed: int = 0) -> np.ndarray:
        """Draws (R, n, n) of the error of P, if the true preferences are `preference` (n, n)."""
        residuals = self.residuals(preference).reshape(len(self), -1)
        drawn = signs(len(self), redraws, seed) @ residuals
        total = self.total.reshape(-1)
        shares = np.divide(drawn, total, out=np.zeros_like(drawn), where=total > 0)
        return np.asarray(shares.reshape(-1, *preference.shape))

    def resampled(self, redraws: int, seed: int = 0) -> np.ndarray:
        """P (R, n, n) of clusters that are drawn with replacement."""
        n = self.wins.shape[-1]
        counts = np.random.default_rng(seed).multinomial(len(self), np.full(len(self), 1 / len(self)), redraws)
        won, cast = (counts @ table.reshape(len(self), -1) for table in (self.wins, self.votes))
        return _share(won, cast).reshape(-1, n, n)


def signs(clusters: int, redraws: int = REDRAWS, seed: int = 0) -> np.ndarray:
    """Signs (R, C) of the residuals: all but those of the observed sum for few clusters, random ones for many."""
    if clusters <= ENUMERATED:
        return np.array(list(product((1.0, -1.0), repeat=clusters))[1:])
    return np.random.default_rng(seed).choice((-1.0, 1.0), (redraws, clusters))


def p_value(observed: float, redrawn: np.ndarray) -> float:
    """The share of redraws at least as large, with the observed value counted as one of them."""
    slack = 1e-9 * max(abs(observed), 1e-9)
    return float((1 + (redrawn >= observed - slack).sum()) / (1 + len(redrawn)))


def _share(wins: np.ndarray, votes: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(wins, votes, out=np.full(wins.shape, 0.5), where=votes > 0))

"""Which items may be the Condorcet winner: a 95% confidence set.

An item is excluded if the votes reject that it loses to no other item. The statistic is the largest standardised
majority against the item, compared with its distribution if all pairs were even: the p-value holds for all opponents
together. The set contains the true winner, if there is one, with at least 95%. An empty set rejects that any item wins.
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.counted import Counts, counts_of
from nlhf.stats.vote_clusters import REDRAWS, Clusters, signs

LEVEL = 0.05
LARGEST = 1 << 24  # cells of redrawn tables; with more items there is no set


def possible_winners(
    preference: np.ndarray,
    votes: np.ndarray | None = None,
    clusters: Clusters | None = None,
    seed: int = 0,
    redraws: int = REDRAWS,
) -> list[int] | None:
    """The items of the confidence set, with votes and clusters as in `diagnose`; None without a test."""
    if redraws * preference.size > LARGEST:
        return None
    p_values = []
    if (counts := counts_of(preference, votes)) is not None:
        p_values.append(_by_vote(counts, redraws, seed))
    if clusters is not None:
        p_values = [*p_values, _by_cluster(clusters, redraws, seed)] if clusters.enough else []
    if not p_values:
        return None
    return [int(item) for item in np.flatnonzero(np.max(p_values, axis=0) > LEVEL)]


def _by_vote(counts: Counts, redraws: int, seed: int) -> np.ndarray:
    error, even = np.sqrt(counts.decided) / 2, np.full(counts.wins.shape, 0.5)
    drawn = counts.redrawn(even, redraws, seed)
    observed, redrawn = (_loss(wins.swapaxes(-2, -1) - counts.decided / 2, error) for wins in (counts.wins, drawn))
    return _p_values(observed, redrawn)


def _by_cluster(clusters: Clusters, redraws: int, seed: int) -> np.ndarray:
    surplus = clusters.residuals(np.full(clusters.total.shape, 0.5)).swapaxes(1, 2)
    error = np.sqrt((surplus**2).sum(0))
    drawn = signs(len(clusters), redraws, seed) @ surplus.reshape(len(clusters), -1)
    return _p_values(_loss(surplus.sum(0), error), _loss(drawn.reshape(-1, *error.shape), error))


def _loss(surplus: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The largest standardised majority against each item, (..., n); `surplus` (..., n, n) is of the column."""
    return np.asarray(np.divide(surplus, error, out=np.zeros(surplus.shape), where=error > 0).max(-1))


def _p_values(observed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.asarray((1 + (drawn >= observed - 1e-9).sum(0)) / (1 + len(drawn)))

"""Standardised majorities, and their distribution if all pairs were even: the statistics of tests about winners."""

from __future__ import annotations

import numpy as np

from nlhf.stats.counted import Counts, counts_of
from nlhf.stats.vote_clusters import Clusters, signs

LARGEST = 1 << 24  # cells of redrawn tables; with more items there is no test
Sample = tuple[np.ndarray, np.ndarray]  # observed (n, n) and redrawn (R, n, n)


def standardised(
    preference: np.ndarray, votes: np.ndarray | None, clusters: Clusters | None, seed: int, redraws: int
) -> list[Sample]:
    """Majorities of columns over rows in standard errors: observed ones, and redrawn ones if all pairs were even.

    One sample takes votes as independent, one takes clusters as independent; a test must hold for both. Empty if
    neither is possible. See `diagnose` for the arguments.
    """
    if redraws * preference.size > LARGEST or (clusters is not None and not clusters.enough):
        return []
    counts = counts_of(preference, votes)
    by_vote = [] if counts is None else [_by_vote(counts, redraws, seed)]
    return by_vote if clusters is None else [*by_vote, _by_cluster(clusters, redraws, seed)]


def p_values(observed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The share of redraws (R, ...) at least as large as each observed value, which counts as one of them."""
    return np.asarray((1 + (drawn >= observed - 1e-9).sum(0)) / (1 + len(drawn)))


def _by_vote(counts: Counts, redraws: int, seed: int) -> Sample:
    error, even = np.sqrt(counts.decided) / 2, np.full(counts.wins.shape, 0.5)
    drawn = counts.redrawn(even, redraws, seed)
    return _losses(counts.wins.T - counts.decided / 2, error), _losses(
        drawn.swapaxes(-2, -1) - counts.decided / 2, error
    )


def _by_cluster(clusters: Clusters, redraws: int, seed: int) -> Sample:
    surplus = clusters.residuals(np.full(clusters.total.shape, 0.5)).swapaxes(1, 2)
    error = np.sqrt((surplus**2).sum(0))
    drawn = signs(len(clusters), redraws, seed) @ surplus.reshape(len(clusters), -1)
    return _losses(surplus.sum(0), error), _losses(drawn.reshape(-1, *error.shape), error)


def _losses(surplus: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Surplus votes of the column (..., n, n) over their standard error; 0 without votes."""
    return np.asarray(np.divide(surplus, error, out=np.zeros(surplus.shape), where=error > 0))

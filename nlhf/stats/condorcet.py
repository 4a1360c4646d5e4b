"""Which items may be the Condorcet winner: a 95% confidence set.

An item is excluded if the votes reject that it loses to no other item. The statistic is the largest standardised
majority against the item, compared with its distribution if all pairs were even: the p-value holds for all opponents
together. The set contains the true winner, if there is one, with at least 95%. An empty set rejects that any item wins.
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.majorities import p_values, standardised
from nlhf.stats.vote_clusters import REDRAWS, Clusters

LEVEL = 0.05


def possible_winners(
    preference: np.ndarray,
    votes: np.ndarray | None = None,
    clusters: Clusters | None = None,
    seed: int = 0,
    redraws: int = REDRAWS,
) -> list[int] | None:
    """The items of the confidence set, with votes and clusters as in `diagnose`; None without a test."""
    samples = standardised(preference, votes, clusters, seed, redraws)
    if not samples:
        return None
    largest = [p_values(observed.max(-1), drawn.max(-1)) for observed, drawn in samples]
    return [int(item) for item in np.flatnonzero(np.max(largest, axis=0) > LEVEL)]

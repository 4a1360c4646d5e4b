"""The Smith set, and the items that votes exclude from it.

The Smith set is the smallest set of items that each beat every item outside it by strict majority: the Condorcet winner
alone if there is one, and all items of the top cycle otherwise. An item belongs to it if and only if it reaches every
other item by a path of wins and draws (J. Smith, Aggregation of Preferences with Variable Electorate, Econometrica
1973; T. Schwartz, 1986).

With confidence: a loss counts as proved if its standardised majority is above the 95% quantile of the largest one of
all pairs, if all pairs were even. With at least 95%, no proved loss is false. The true paths are then among the paths
of wins, draws and losses that are not proved, so that the items that reach all others by these contain the true Smith
set.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nlhf.stats.majorities import p_values, standardised
from nlhf.stats.vote_clusters import REDRAWS, Clusters

LEVEL = 0.05


def smith_set(preference: np.ndarray) -> list[int]:
    """The Smith set of P (n, n), in increasing order."""
    return _top((preference - preference.T) / 2 >= 0)


def possible_smith(
    preference: np.ndarray,
    votes: np.ndarray | None = None,
    clusters: Clusters | None = None,
    seed: int = 0,
    redraws: int = REDRAWS,
) -> list[int] | None:
    """Items that contain the true Smith set with 95% confidence, with arguments as in `diagnose`; None without a test.

    A pair without a vote may be a win for both of its items.
    """
    samples = standardised(preference, votes, clusters, seed, redraws)
    if not samples:
        return None
    tests = [p_values(observed, drawn.max((-2, -1))[:, None, None]) for observed, drawn in samples]
    return _top(np.max(tests, axis=0) > LEVEL)


def _top(holds_out: np.ndarray) -> list[int]:
    """The items that reach all others, where True in (n, n) says that the row does not lose to the column.

    One of the two directions is True for every pair, so the strongly connected components form a chain, and an item of
    the first one does not lose to the most items.
    """
    _, component = connected_components(csr_array(holds_out), connection="strong")
    first = component[holds_out.sum(1).argmax()]
    return [int(item) for item in np.flatnonzero(component == first)]

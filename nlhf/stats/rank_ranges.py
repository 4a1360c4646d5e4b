"""The ranks that votes allow each item, from simultaneous intervals of all differences of scores.

An item's best rank is one plus the number of items that are significantly better, its worst rank is n minus the number
of items that are significantly worse. With 95% all ranges hold together, also if items are equal (M. Klein, T. Wright,
J. Wieczorek, A joint confidence region for an overall ranking of populations, 2020; M. Mogstad, J. Romano, A. Shaikh,
D. Wilhelm, Inference for Ranks, 2023). The critical value is that of the largest |t| of all pairs under the
covariance of the scores, which is the multiplier bootstrap with normal multipliers.
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.bootstrap import LEVEL
from nlhf.stats.scores import Scores

DRAWS = 4000
FEWEST_DRAWS = 1000
MOST_CELLS = 1 << 27  # differences up to which all draws are made
LEAST_VARIANCE = 1e-18  # of a difference of scores


def rank_ranges(fit: Scores, seed: int = 0) -> np.ndarray:
    """The first and the last rank that the votes allow each item, whole numbers from 1, (2, n)."""
    n, parts, variance = len(fit.finite), fit.separation.parts, np.diag(fit.covariance)
    comparable = (parts[:, None] == parts) & np.outer(fit.measured, fit.measured) & ~np.eye(n, dtype=bool)
    error = np.sqrt(np.maximum(variance[:, None] + variance - 2 * fit.covariance, LEAST_VARIANCE))
    precision = comparable / error
    better = (fit.finite[:, None] - fit.finite) * precision > _critical(fit, precision, seed)
    return np.stack([1 + better.sum(0), n - better.sum(1)])


def _critical(fit: Scores, precision: np.ndarray, seed: int) -> float:
    """The 95% quantile of the largest |t| of all pairs with a `precision`, one over the standard error, (n, n)."""
    n = len(precision)
    if not precision.any():
        return float("inf")
    draws = max(FEWEST_DRAWS, min(DRAWS, MOST_CELLS // n**2))
    values, vectors = np.linalg.eigh(fit.covariance)
    rng = np.random.default_rng(seed)
    drawn = (vectors * np.sqrt(np.maximum(values, 0))) @ rng.standard_normal((n, draws))
    if np.isfinite(fit.freedom):
        drawn /= np.sqrt(rng.chisquare(fit.freedom, draws) / fit.freedom)
    largest = np.zeros(draws)
    for k in range(1, n):
        difference = np.abs(drawn[:k] - drawn[k]) * precision[:k, k, None]
        largest = np.maximum(largest, difference.max(0))
    return float(np.quantile(largest, LEVEL))

"""The mean of paired differences, with an interval and a p-value that agree."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from nlhf.stats.bootstrap import FEWEST, Estimate
from nlhf.stats.clusters import clustered_mean, share_interval

BOUNDS = (-1.0, 1.0)
SMALLEST = 1e-9  # p-value that is computed


def paired_mean(differences: np.ndarray) -> Estimate:
    """The mean of n independent differences in [-1, 1]; its interval is nan for fewer than five."""
    return clustered_mean(differences, np.ones(len(differences)), BOUNDS)


def paired_p(differences: np.ndarray) -> float:
    """The two-sided p-value of the mean of n differences in [-1, 1]; nan for fewer than five.

    The interval of `paired_mean` with the level 1 - p ends at 0. So p < 0.05 exactly if the 95% interval excludes 0.

    Example:
        >>> round(paired_p(np.array([0.5, 0.25, 0.0, 0.75, 0.5, 0.25, 0.5, 0.0])), 3)
        0.148
    """
    if len(differences) < FEWEST:
        return float("nan")
    mean, weights = float(differences.mean()), np.ones(len(differences))
    share, residuals = 0.5 + abs(mean) / 2, (differences - mean) / 2

    def lower_end(p: float) -> float:
        return share_interval(share, residuals, weights, 1 - p)[0] - 0.5

    if lower_end(1 - SMALLEST) <= 0:
        return 1.0
    return SMALLEST if lower_end(SMALLEST) >= 0 else float(optimize.brentq(lower_end, SMALLEST, 1 - SMALLEST))

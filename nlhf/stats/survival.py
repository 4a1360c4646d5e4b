"""The Kaplan-Meier median of the cost to a target that some observations never reach."""

from __future__ import annotations

import numpy as np

from nlhf.stats.bootstrap import FEWEST, NONE, Interval, quantiles, redrawn


def censored_median(costs: np.ndarray, reached: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """The median cost, (draws) for counts (draws, n); inf if half or more never reach the target.

    If exactly half have reached it between two costs, the result is the geometric mean of the two.

    Args:
        costs: (n), at which the target was reached, or at which the observation ended without it.
        reached: (n) bool.
        counts: (draws, n), how often each observation was drawn; once each by default.
    """
    order = np.lexsort((~reached, costs))  # at equal costs, observations that reach the target come first
    ordered, events = costs[order], reached[order]
    weights = (np.ones((1, len(costs))) if counts is None else counts)[:, order].astype(float)
    at_risk = weights[:, ::-1].cumsum(1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(np.where(at_risk > 0, 1 - weights * events / at_risk, 1.0), axis=1)
    first, second = (
        np.where(below.any(1), ordered[below.argmax(1)], np.inf)
        for below in (survival <= 0.5 + 1e-12, survival < 0.5 - 1e-12)
    )
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(second), np.inf, np.sqrt(first) * np.sqrt(second))
    return np.asarray(np.where(first == second, first, middle))


def censored_median_interval(costs: np.ndarray, reached: np.ndarray, clusters: np.ndarray | None = None) -> Interval:
    """The percentile interval of `censored_median`; nan below five clusters.

    Args:
        clusters: (n), the cluster of each observation, such as its seed; clusters are resampled as a whole. Each
            observation is a cluster by default.
    """
    clusters = np.arange(len(costs)) if clusters is None else clusters
    names, member = np.unique(clusters, return_inverse=True)
    if len(names) < FEWEST:
        return NONE
    return quantiles(censored_median(costs, reached, redrawn(len(names))[:, member]))

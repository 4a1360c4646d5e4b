"""Weighted means over clusters, such as votes that share a prompt, with intervals.

The interval of bounded values never shrinks to a point. It is that of Clopper and Pearson for an effective number of
observations (E. Korn, B. Graubard, Confidence Intervals for Proportions with Small Expected Number of Positive Counts,
Survey Methodology 24:193, 1998), which follows from the spread between clusters in four steps:

* Clusters of unequal weights w count as c = sum(w)^2 / sum(w^2) equal ones (L. Kish, Survey Sampling, 1965).
* v is the mean squared deviation of a cluster from the share p, weighted with w^2. It is p(1-p) if each cluster is
  unanimous, and p(1-p)/m for m independent votes in each.
* r = (v + 1/(2c)) / (p(1-p) + 1/(2c)) adds one cluster at each end of the range. Where all clusters agree, r is close
  to 1 and the clusters count once each: 8 of 8 gives [0.63, 1].
* The effective number is c/r, reduced by the ratio of the squared quantiles of Student's t with c - 1 degrees of
  freedom and of the normal distribution, but not below c unless r > 1: c is right for unanimous clusters.

docs/statistics.md has its coverage.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from nlhf.stats.bootstrap import FEWEST, LEVEL, NONE, Estimate, Interval, expanded_tail, quantiles, redrawn
from nlhf.stats.proportions import clopper_pearson

FEWEST_UNBOUNDED = 20  # clusters; fewer give no interval of a mean without bounds
PRIOR = 0.5  # squared deviation of one cluster at each end of the range from the middle, in all


def clustered_mean(sums: np.ndarray, weights: np.ndarray, bounds: Interval | None = (0.0, 1.0)) -> Estimate:
    """The weighted mean sum(sums) / sum(weights) over n sampled clusters; nan if no cluster has a weight.

    Its interval is nan for fewer than five clusters, or for fewer than 20 if the values have no bounds.

    Args:
        sums: the sum of the values of each cluster, (n).
        weights: the number of its values, (n).
        bounds: the smallest and the largest possible value; None if there are none.
    """
    sums, weights = sums[weights > 0], weights[weights > 0]
    if not len(sums):
        return Estimate(float("nan"), *NONE, 0.0)
    mean = float(sums.sum() / weights.sum())
    if bounds is None:
        ends = resampled_interval(sums, weights)
    else:
        low, width = bounds[0], bounds[1] - bounds[0]
        inner = share_interval((mean - low) / width, (sums - mean * weights) / width, weights)
        ends = low + width * inner[0], low + width * inner[1]
    return Estimate(mean, *ends, float(weights.sum()))


def grouped_mean(
    values: np.ndarray, weights: np.ndarray, groups: np.ndarray, bounds: Interval | None = (0.0, 1.0)
) -> Estimate:
    """The weighted mean of `values` (n) with its interval over the clusters that `groups` (n) names."""
    _, cluster = np.unique(groups, return_inverse=True)
    return clustered_mean(np.bincount(cluster, values * weights), np.bincount(cluster, weights), bounds)


def resampled_interval(sums: np.ndarray, weights: np.ndarray) -> Interval:
    """The expanded percentile interval of sum(sums) / sum(weights), for means without bounds.

    Nan for fewer than 20 clusters: with 13, it covers less than 0.90 of skewed log-losses.
    """
    if len(sums) < FEWEST_UNBOUNDED:
        return NONE
    counts = redrawn(len(sums))
    return quantiles((counts @ sums) / (counts @ weights), expanded_tail(len(sums), len(sums) - 1))


def share_interval(share: float, residuals: np.ndarray, weights: np.ndarray, level: float = LEVEL) -> Interval:
    """The interval of a share in [0, 1] over n clusters; nan for fewer than five.

    Args:
        share: the estimate.
        residuals: what each cluster adds to the weighted sum beyond its weight times the share, (n).
        weights: of the clusters, (n), all positive.
        level: the coverage.
    """
    if len(weights) < FEWEST:
        return NONE
    share = min(max(share, 0.0), 1.0)
    number = effective_number(share, residuals, weights, level)
    return clopper_pearson(share * number, number, level)


def effective_number(share: float, residuals: np.ndarray, weights: np.ndarray, level: float = LEVEL) -> float:
    """How many independent votes give the information of these clusters; for the arguments see `share_interval`."""
    squares = float((weights**2).sum())
    clusters = float(weights.sum()) ** 2 / squares
    spread = float((residuals**2).sum()) / squares
    ratio = (spread + PRIOR / clusters) / (share * (1 - share) + PRIOR / clusters)
    tail = (1 + level) / 2
    student = float((special.stdtrit(max(clusters - 1, 0.5), tail) / special.ndtri(tail)) ** 2)
    return clusters / max(ratio, min(ratio * student, 1.0))

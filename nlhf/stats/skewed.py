"""The interval of a mean of skewed values."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nlhf.stats.bootstrap import FEWEST, LEVEL, NONE, Interval


def skewed_mean_interval(values: np.ndarray) -> Interval:
    """The interval of the mean of n independent values (n); nan for fewer than five, a point for equal values.

    A cubic transformation g removes the skewness from Student's t (P. Hall, On the Removal of Skewness by
    Transformation, Journal of the Royal Statistical Society B 54:221, 1992). With c = skewness / (3 sqrt(n)),

        g(T) = T + c T^2 + c^2 T^3 / 3 + c / 2,    g^-1(x) = ((1 + 3 c (x - c / 2))^(1/3) - 1) / c.

    The ends are mean - g^-1(+-t) * standard error. For symmetric values this is Student's interval.
    """
    n = len(values)
    if n < FEWEST or not np.isfinite(values).all():
        return NONE
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if deviation == 0:
        return mean, mean
    c = float(((values - mean) ** 3).mean()) / deviation**3 / (3 * n**0.5)
    ends = stats.t.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], n - 1) - c / 2
    if abs(c) > 1e-9:
        ends = (np.cbrt(1 + 3 * c * ends) - 1) / c
    low, high = mean - ends * deviation / n**0.5
    return float(low), float(high)

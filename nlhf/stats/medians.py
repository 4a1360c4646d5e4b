"""The interval of a median from two order statistics.

The interval inverts the sign test (W. Conover, Practical Nonparametric Statistics, 3rd ed. 1999, section 3.2). It makes
no assumption about the distribution: skewed, tied and infinite values are allowed.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from nlhf.stats.bootstrap import FEWEST, LEVEL, NONE, Interval


def median_interval(values: np.ndarray) -> Interval:
    """The interval of the median of n independent values (n); nan for fewer than five values.

    Its coverage is at least 0.95, except at n = 5: there it reaches from the smallest value to the largest one, which
    covers 0.9375.
    """
    n = len(values)
    if n < FEWEST:
        return NONE
    ordered, rank = np.sort(values), outer_rank(n)
    return float(ordered[rank]), float(ordered[n - 1 - rank])


def outer_rank(n: int) -> int:
    """The largest k such that the median lies below the k-th smallest of n values (from 0) with at most 2.5%."""
    tails = stats.binom.cdf(np.arange(n // 2), n, 0.5)
    return max(int((tails <= (1 - LEVEL) / 2).sum()) - 1, 0)

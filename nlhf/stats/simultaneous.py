"""Upper confidence bounds of shares that hold for several estimates at once."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nlhf.stats.bootstrap import LEVEL


def simultaneous_upper(shares: np.ndarray, upper: np.ndarray, estimates: np.ndarray | int) -> np.ndarray:
    """Upper bounds (n) that all hold with 95%, whatever the dependence between the estimates (Bonferroni).

    Each bound u of Wilson's form solves (u - share)^2 m = z^2 u (1 - u). The given 95% bound yields m, the number of
    independent pairs behind the share, and m gives the bound for a larger z. A wider interval of another form, such as
    the one of Clopper and Pearson, yields a smaller m.

    Args:
        shares: estimates in [0, 1], (n); nan where there is none.
        upper: the upper ends of their two-sided 95% intervals, (n).
        estimates: the number of estimates among which one may be chosen, for all or for each, (n).

    Example:
        >>> simultaneous_upper(np.array([0.3]), np.array([0.42]), 30).round(3)  # one-sided, 95% for all of 30
        array([0.482])
    """
    single = stats.norm.ppf((1 + LEVEL) / 2)
    corrected = stats.norm.isf((1 - LEVEL) / np.maximum(estimates, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = single**2 * upper * (1 - upper) / (upper - shares) ** 2
        scale = 1 + corrected**2 / pairs
        middle = (shares + corrected**2 / (2 * pairs)) / scale
        half = corrected / scale * np.sqrt(shares * (1 - shares) / pairs + corrected**2 / (4 * pairs**2))
    return np.where(upper >= 1, 1.0, middle + half)

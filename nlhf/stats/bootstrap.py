"""Reproducible resampling of clusters, and the numbers that all 95% intervals share.

Plain percentiles of a resampled mean cover 93% at 32 clusters and 91% at 10, because they ignore the t distribution.
`expanded_tail` gives the quantiles that correct for it.

Sources: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; T. Hesterberg, What Teachers
Should Know about the Bootstrap, The American Statistician 69:371 (2015), section 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 4000
LEVEL = 0.95
FEWEST = 5  # observations; fewer give no interval
Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval (nan if there are too few cases) and the number of cases behind it."""

    value: float
    low: float
    high: float
    cases: float

    def __str__(self) -> str:
        ends = "" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


def expanded_tail(n: int, freedom: int) -> float:
    """The share of resampled means beyond either end of the interval that Student's t gives for n values."""
    return float(stats.norm.cdf(np.sqrt(n / freedom) * stats.t.ppf((1 - LEVEL) / 2, freedom)))


def redrawn(n: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of n clusters is drawn, float64 (draws, n)."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws).astype(float)


def median(values: np.ndarray) -> np.ndarray:
    """The median over the last dimension; infinite values are allowed."""
    ordered = np.sort(values, axis=-1)
    n = values.shape[-1]
    low, high = ordered[..., (n - 1) // 2], ordered[..., n // 2]
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, (low + high) / 2)


def quantiles(drawn: np.ndarray, tail: float = (1 - LEVEL) / 2) -> Interval:
    """The resampled values that leave a share `tail` on either side; infinite values are allowed."""
    low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
    return float(low), float(high)

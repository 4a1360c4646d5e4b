"""Tests of paired differences, and the correction for making several of them."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nlhf.stats import bootstrap

EXACT = 300  # largest number of differences for which the sign-flip test is exact
GRID = 720  # steps between 0 and the largest difference


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that each difference has a distribution symmetric about 0.

    The statistic is the mean difference, compared with that of all choices of signs (R. A. Fisher, The Design of
    Experiments, 1935, section 21). The differences are first rounded to multiples of 1/720 of the largest, so that all
    sums can be counted; the p-value is exact for the rounded differences. Above EXACT differences the normal
    approximation is used.

    Args:
        differences: (n) independent finite numbers.

    Returns: nan below five differences, 1 if all are 0.

    Example:
        >>> sign_flip(np.array([1.0, 2.0, 3.0, 1.0, 2.0, 4.0]))  # all six have one sign: 2/2^6
        0.03125
    """
    if len(differences) < bootstrap.FEWEST:
        return float("nan")
    largest = np.abs(differences).max()
    if largest == 0:
        return 1.0
    steps = np.rint(GRID * differences / largest).astype(int)
    sizes = np.abs(steps[steps != 0])
    if len(sizes) > EXACT:
        return float(2 * stats.norm.sf(abs(steps.sum()) / np.sqrt((sizes.astype(float) ** 2).sum())))
    divisor = np.gcd.reduce(sizes)
    chance = np.ones(1)  # of each sum of the positive sizes, in units of the divisor
    for size in sizes // divisor:
        shifted = np.zeros(len(chance) + size)
        shifted[: len(chance)] += chance / 2
        shifted[size:] += chance / 2
        chance = shifted
    positive = steps[steps > 0].sum() // divisor
    return float(min(1.0, 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of the p-values that are not nan."""
    ascending = [index for index in np.argsort(p_values, kind="stable") if not np.isnan(p_values[index])]
    corrected, largest = [float("nan")] * len(p_values), 0.0
    for rank, index in enumerate(ascending):
        largest = max(largest, min(1.0, (len(ascending) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def pairs_needed(comparisons: int, level: float = 0.05) -> int:
    """The number of pairs of signs below which no sign-flip test can reach p < `level` after Holm's correction."""
    return int(np.ceil(np.log2(2 * max(comparisons, 1) / level)))

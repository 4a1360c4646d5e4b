"""95% intervals of a proportion, `wins` of `count`; a tie counts as half a win."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nlhf.stats.bootstrap import LEVEL, NONE, Interval


def wilson(wins: float, count: int) -> Interval:
    """Wilson's score interval; nan if `count` is 0."""
    if count == 0:
        return NONE
    z = stats.norm.ppf((1 + LEVEL) / 2)
    share, scale = wins / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def clopper_pearson(wins: float, count: int) -> Interval:
    """The exact interval of Clopper and Pearson (1934)."""
    tail = (1 - LEVEL) / 2
    low = stats.beta.ppf(tail, wins, count - wins + 1) if wins > 0 else 0.0
    high = stats.beta.ppf(1 - tail, wins + 1, count - wins) if wins < count else 1.0
    return float(low), float(high)

"""95% intervals of a proportion, `wins` of `count`; a tie counts as half a win."""

from __future__ import annotations

import numpy as np
from scipy import special

from nlhf.stats.bootstrap import LEVEL, NONE, Interval


def wilson(wins: float, count: int) -> Interval:
    """Wilson's score interval; nan if `count` is 0."""
    if count == 0:
        return NONE
    z = special.ndtri((1 + LEVEL) / 2)
    share, scale = wins / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def clopper_pearson(wins: float, count: float, level: float = LEVEL) -> Interval:
    """The exact interval of Clopper and Pearson (1934); `count` may be an effective number."""
    tail = (1 - level) / 2
    low = special.betaincinv(wins, count - wins + 1, tail) if wins > 0 else 0.0
    high = special.betaincinv(wins + 1, count - wins, 1 - tail) if wins < count else 1.0
    return float(low), float(high)

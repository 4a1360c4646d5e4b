"""Intervals of the arena's win rates; prompts are the sample.

Each win rate has the interval of `nlhf.stats.clusters` over prompts. The exploitability of a policy that is always
played is max over b of P(b > a) - 1/2. The largest of several estimates is biased upwards where the true values are
close, so a percentile interval almost never covers the true value. Its interval is therefore the largest of bounds on
all P(b > a), which hold simultaneously with 95% by Bonferroni's inequality.
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.bootstrap import LEVEL
from nlhf.stats.clusters import share_interval


def pair_intervals(
    wins: np.ndarray, played: np.ndarray, preference: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the intervals of P(a > b), (n, n) each; nan for pairs with fewer than five prompts.

    Args:
        wins: what a won of b on each prompt, (prompts, n, n).
        played: 1 where they have played, else 0, (prompts, n, n).
        preference: P(a > b), (n, n).
        level: the coverage of each interval.
    """
    n = len(preference)
    ends = np.full((2, n, n), np.nan)
    for i, j in np.argwhere(~np.eye(n, dtype=bool)):
        values = wins[played[:, i, j] > 0, i, j]
        ends[:, i, j] = share_interval(preference[i, j], values - preference[i, j], np.ones(len(values)), level)
    return ends[0], ends[1]


def exploitability_bounds(wins: np.ndarray, played: np.ndarray, preference: np.ndarray) -> np.ndarray:
    """The ends of the intervals of all exploitabilities, (n, 2); pairs without an interval have the bounds 0 and 1."""
    n = len(preference)
    low, high = pair_intervals(wins, played, preference, 1 - (1 - LEVEL) / max(n - 1, 1))
    even = np.where(np.eye(n, dtype=bool), 0.5, np.nan)
    low, high = (np.where(np.isnan(even), end, even) for end in (low, high))
    # P(b > a) = 1 - P(a > b): the bounds of the opponents of a are in row a
    lower, upper = 1 - np.nan_to_num(high, nan=1.0), 1 - np.nan_to_num(low, nan=0.0)
    return np.stack([lower.max(1), upper.max(1)], -1) - 0.5


def field_intervals(wins: np.ndarray, played: np.ndarray, preference: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The intervals of the means over opponents, (n, 2); nan for fewer than five prompts.

    Args:
        wins, played, preference: as in `pair_intervals`.
        field: the mean of P(a > b) over the opponents of each, (n).
    """
    number = played.sum(0)
    share = np.divide(len(played), number, out=np.zeros_like(number), where=number > 0)
    share = share / np.maximum((number > 0).sum(1, keepdims=True), 1)
    weights, residuals = (played * share).sum(2), ((wins - preference) * played * share).sum(2)
    ends = [
        share_interval(float(value), residuals[weights[:, a] > 0, a], weights[weights[:, a] > 0, a])
        for a, value in enumerate(field)
    ]
    return np.array(ends)

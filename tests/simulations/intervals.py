"""Intervals of medians and proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.stats.proportions import wilson
from tests.simulations.cell import Cell


def _wilson(share: float, count: int) -> Callable[[np.random.Generator], bool]:
    def simulate(rng: np.random.Generator) -> bool:
        low, high = wilson(float(rng.binomial(count, share)), count)
        return low <= share <= high

    return simulate


CELLS = [
    Cell("Wilson's interval of a share", f"{count} pairs, true share {share:g}", "coverage", _wilson(share, count))
    for count in (5, 20, 100)
    for share in (0.5, 0.9)
]

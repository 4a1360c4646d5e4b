"""Intervals of medians and proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.stats.medians import median_interval
from nlhf.stats.proportions import wilson
from tests.simulations.cell import Cell

Draw = Callable[[np.random.Generator, int], np.ndarray]  # n values whose median is 0 (or 1 for lognormal values)


def _wilson(share: float, count: int) -> Callable[[np.random.Generator], bool]:
    def simulate(rng: np.random.Generator) -> bool:
        low, high = wilson(float(rng.binomial(count, share)), count)
        return low <= share <= high

    return simulate


def _median(draw: Draw, count: int, truth: float) -> Callable[[np.random.Generator], bool]:
    def simulate(rng: np.random.Generator) -> bool:
        low, high = median_interval(draw(rng, count))
        return low <= truth <= high

    return simulate


def _with_outliers(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count) * np.where(rng.random(count) < 0.1, 1000.0, 1.0)


def _with_misses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Normal values, the largest 30% of the distribution infinite."""
    values = rng.standard_normal(count)
    return np.where(values > 0.524, np.inf, values)


MEDIANS: dict[str, tuple[Draw, float]] = {
    "lognormal": (lambda rng, count: rng.lognormal(size=count), 1.0),
    "normal, one outlier in ten": (_with_outliers, 0.0),
    "normal, 30% infinite": (_with_misses, 0.0),
    "rounded to halves": (lambda rng, count: np.round(2 * rng.standard_normal(count)) / 2, 0.0),
}
CELLS = [
    *(
        Cell("Wilson's interval of a share", f"{count} pairs, true share {share:g}", "coverage", _wilson(share, count))
        for count in (5, 20, 100)
        for share in (0.5, 0.9)
    ),
    *(
        Cell("interval of a median", f"{count} values, {data}", "coverage", _median(draw, count, truth))
        for count in (5, 10, 20)
        for data, (draw, truth) in MEDIANS.items()
    ),
]

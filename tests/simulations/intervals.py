"""Intervals of medians, proportions and means over clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.stats.clusters import clustered_mean
from nlhf.stats.medians import median_interval
from nlhf.stats.proportions import wilson
from tests.simulations.cell import Cell

Draw = Callable[[np.random.Generator, int], np.ndarray]  # n values whose median is 0 (or 1 for lognormal values)
Sizes = list[int]  # of clusters, all equally likely


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


def _clustered(share: float, count: int, sizes: Sizes, correlation: float) -> Callable[[np.random.Generator], bool]:
    """Votes in `count` clusters; the chances of the clusters have a beta distribution with this correlation."""

    def simulate(rng: np.random.Generator) -> bool:
        weights = rng.choice(sizes, count).astype(float)
        if correlation in (0, 1):
            chance = np.full(count, share) if correlation == 0 else (rng.random(count) < share).astype(float)
        else:
            concentration = 1 / correlation - 1
            chance = rng.beta(share * concentration, (1 - share) * concentration, count)
        estimate = clustered_mean(rng.binomial(weights.astype(int), chance).astype(float), weights)
        return estimate.low <= share <= estimate.high

    return simulate


def _verdicts(base: float, failures: float, count: int) -> Callable[[np.random.Generator], bool]:
    """Verdicts near `base`, of which a share `failures` is 0."""

    def simulate(rng: np.random.Generator) -> bool:
        verdicts = np.where(rng.random(count) < failures, 0.0, base + 0.02 * (rng.random(count) - 0.5))
        estimate = clustered_mean(verdicts, np.ones(count))
        return estimate.low <= base * (1 - failures) <= estimate.high

    return simulate


def _losses(count: int, sureness: float) -> Callable[[np.random.Generator], bool | None]:
    """Log-losses of a judge on `count` prompts with three votes each; it is too sure by a factor."""
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-(grid**2) / 4)
    chance = 1 / (1 + np.exp(-grid))
    loss = chance * np.logaddexp(0, -sureness * grid) + (1 - chance) * np.logaddexp(0, sureness * grid)
    truth = float((density * loss).sum() / density.sum())

    def simulate(rng: np.random.Generator) -> bool | None:
        logits = np.sqrt(2) * rng.standard_normal((count, 1))
        signs = np.where(rng.random((count, 3)) < 1 / (1 + np.exp(-logits)), 1, -1)
        losses = np.logaddexp(0, -sureness * signs * logits).sum(1)
        estimate = clustered_mean(losses, np.full(count, 3.0), None)
        return None if np.isnan(estimate.low) else estimate.low <= truth <= estimate.high

    return simulate


MEDIANS: dict[str, tuple[Draw, float]] = {
    "lognormal": (lambda rng, count: rng.lognormal(size=count), 1.0),
    "normal, one outlier in ten": (_with_outliers, 0.0),
    "normal, 30% infinite": (_with_misses, 0.0),
    "rounded to halves": (lambda rng, count: np.round(2 * rng.standard_normal(count)) / 2, 0.0),
}
SIZES: dict[str, Sizes] = {
    "size 1": [1],
    "size 8": [8],
    "sizes 1 to 16": [1, 2, 4, 8, 16],
    "sizes 1 and 40": [1] * 5 + [40],
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
    *(
        Cell(
            "interval of a mean over clusters",
            f"{count} clusters of {name}, true mean {share:g}, correlation {correlation:g}",
            "coverage",
            _clustered(share, count, sizes, correlation),
        )
        for count in (5, 8, 10, 20, 50)
        for name, sizes in SIZES.items()
        for share in (0.5, 0.8, 0.95, 0.99)
        for correlation in ((0, 0.3, 1) if name != "size 1" else (0,))
    ),
    *(
        Cell(
            "interval of a mean over clusters",
            f"{count} verdicts near {base:g}, 0 with probability {failures:g}",
            "coverage",
            _verdicts(base, failures, count),
        )
        for count in (10, 20, 50)
        for base, failures in ((0.5, 0.1), (0.8, 0.1), (0.95, 0.05))
    ),
    *(
        Cell(
            "interval of a mean log-loss",
            f"{count} prompts, 3 votes each, {'calibrated' if sureness == 1 else 'logits 3 times too large'}",
            "coverage",
            _losses(count, sureness),
        )
        for count in (10, 20, 60)
        for sureness in (1.0, 3.0)
    ),
]

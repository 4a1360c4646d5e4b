"""The calibration error of judges: its interval, and its floor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.calibration import calibration_error
from tests.simulations.cell import Cell

SPREAD = 1.5  # standard deviation of the true logits


def _true_error(sureness: float) -> float:
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-((grid / SPREAD) ** 2) / 2)
    return float((density * np.abs(sigmoid(sureness * grid) - sigmoid(grid))).sum() / density.sum())


def _calibration(prompts: int, votes: int, sureness: float) -> Callable[[np.random.Generator], bool]:
    """Three pairs per prompt with related logits; the judge's logits are too large by a factor."""
    truth = _true_error(sureness)

    def simulate(rng: np.random.Generator) -> bool:
        logits = SPREAD * (rng.standard_normal((prompts, 1)) + rng.standard_normal((prompts, 3))).ravel() / 2**0.5
        number = np.full(len(logits), votes)
        share = rng.binomial(number, sigmoid(logits)) / votes
        groups = np.repeat(np.arange(prompts), 3)
        error = calibration_error(sigmoid(sureness * logits), share, number.astype(float), groups)
        return error.low <= truth <= error.high

    return simulate


CELLS = [
    Cell(
        "interval of a calibration error",
        f"{prompts} prompts, 3 pairs each, {votes} votes per pair, "
        f"{'calibrated' if sureness == 1 else f'logits {sureness:g} times too large'}",
        "coverage",
        _calibration(prompts, votes, sureness),
        repetitions=500,
        quick=50,
    )
    for prompts, votes in ((5, 1), (13, 1), (13, 5), (50, 3))
    for sureness in (1.0, 3.0)
]

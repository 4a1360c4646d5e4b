"""First passages of measured win rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from nlhf.analysis.criterion import OF_TEXTS
from nlhf.analysis.row_bounds import upper_bounds
from nlhf.stats.curves import cost_to_target
from nlhf.stats.proportions import clopper_pearson
from tests.simulations.cell import Cell

TARGET = 0.4


def _verdicts(rng: np.random.Generator, lost: np.ndarray, prompts: int, shared: float) -> np.ndarray:
    """Lost pairs (prompts, rows): row r loses each with probability lost[r].

    The rows of a run share prompts and random numbers: `shared` is the correlation of their latent normal scores.
    """
    common = rng.standard_normal((prompts, 1))
    scores = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.standard_normal((prompts, len(lost)))
    return np.asarray(scores < stats.norm.ppf(lost))


def _passage(rows: int, prompts: int, shared: float) -> Callable[[np.random.Generator], bool]:
    """Whether a run whose true share of lost pairs falls to the target, and never below it, reaches the target."""
    lost = np.maximum(TARGET, np.linspace(0.5, 0.3, rows))

    def simulate(rng: np.random.Generator) -> bool:
        losses = _verdicts(rng, lost, prompts, shared).sum(0)
        low = [clopper_pearson(prompts - count, prompts)[0] for count in losses]
        data = pd.DataFrame({"folder": "run", "seed": 0, OF_TEXTS: losses / prompts, "win_rate_low": low})
        bounds = upper_bounds(data, OF_TEXTS)
        return not np.isnan(cost_to_target(np.arange(rows), data[OF_TEXTS].to_numpy(), TARGET, bounds))

    return simulate


CELLS = [
    Cell(
        "first passage of a win rate",
        f"{rows} rows on {prompts} prompts, correlation {shared:g} between rows, never below the target",
        "size",
        _passage(rows, prompts, shared),
    )
    for rows, prompts in ((12, 32), (12, 64), (30, 64))
    for shared in (0.0, 0.5, 0.9)
]

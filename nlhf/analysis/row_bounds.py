"""Confidence bounds of a metric that the rows of a run only estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.criterion import OF_TEXTS
from nlhf.stats.simultaneous import simultaneous_upper

RUN = ["folder", "seed"]
ESTIMATED = (
    "The share of judged pairs lost is estimated on test prompts. A run reaches the target at its first row whose "
    "upper confidence bound is below it; the bounds hold for all rows of a run with 95%."
)
FEWEST_PROMPTS = 32  # with fewer, intervals may be too short if one prompt in ten decides the mean
FEW_PROMPTS = (
    "Some runs measure fewer than 32 test prompts: their intervals may be too short where a few prompts decide the "
    "mean. Give a larger game.test_prompts."
)


def cautions(data: pd.DataFrame) -> list[str]:
    """What a reader must know about estimated rows."""
    few = "game.test_prompts" in data and (data["game.test_prompts"] < FEWEST_PROMPTS).any()
    return [ESTIMATED, FEW_PROMPTS] if few else [ESTIMATED]


def upper_bounds(data: pd.DataFrame, metric: str) -> np.ndarray | None:
    """Upper bounds of the metric that hold for all rows of a run with 95%; None for an exact metric.

    The share of pairs lost is estimated on test prompts. Among 30 rows, one lies below a target that is never reached
    in more than half of all runs, so each bound is corrected for the number of rows of its run.
    """
    if metric != OF_TEXTS:
        return None
    shares = data[metric].to_numpy(float)
    rows = data.groupby(RUN)[metric].transform("count").to_numpy()
    low = data["win_rate_low"].to_numpy(float) if "win_rate_low" in data else np.full(len(data), np.nan)
    return simultaneous_upper(shares, 1 - low, rows)

"""The rates of the tails of curves, and those that a theorem promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.games.payoff import Payoff
from nlhf.numerics.simplex import SINGLE
from nlhf.stats.curves import ROUNDING, tail_rate

GEOMETRIC = 0.99999  # share of its variance that a line must explain in a bound: a bound that levels off has no rate
PROMISED = {"kl_to_equilibrium": 1.0, "exploitability": 1.0, "span_to_equilibrium": 0.5}  # as shares of kl_bound's rate
LEVELLED = 1e6  # a bound this many times above the rounding that `kl_bound` includes still shows its rate
LARGEST = 10.0  # a usual size of |log reference|


def tail_rates(runs: pd.DataFrame, parts: Sequence[slice], cost: np.ndarray, metric: np.ndarray) -> list[float]:
    """The decrease of ln of the metric per unit of cost along each tail; nan if it is not a line.

    Args:
        runs: the first row of each observation, with its config.
        parts: the rows of each observation.
        cost, metric: of all rows.
    """
    return [
        tail_rate(cost[part], metric[part], smallest=level) for part, level in zip(parts, _noise(runs), strict=True)
    ]


def bound_rates(
    runs: pd.DataFrame, parts: Sequence[slice], cost: np.ndarray, bound: np.ndarray, criterion: Criterion
) -> list[float]:
    """The rate that the theorem promises for the criterion's metric, from `kl_bound`; nan if there is none."""
    promised = PROMISED.get(criterion.metric, np.nan) if criterion.x != "seconds" else np.nan
    return [
        promised * tail_rate(cost[part], bound[part], GEOMETRIC, level)
        for part, level in zip(parts, _levels(runs), strict=True)
    ]


def _noise(runs: pd.DataFrame) -> np.ndarray:
    """The value below which a metric may be rounding; float32 moves a fixed point by (eps/(2 beta))^2."""
    single = _single(runs)
    if not single.any():
        return np.full(len(runs), ROUNDING)
    beta = _beta(runs)
    return np.where(single, np.minimum((SINGLE / np.maximum(2 * beta, SINGLE)) ** 2, SINGLE), ROUNDING)


def _levels(runs: pd.DataFrame) -> np.ndarray:
    """The smallest `kl_bound` of each run that still falls at the theorem's rate (see `Measure.promised`)."""
    if "beta" not in runs:
        return np.full(len(runs), ROUNDING)
    gain = 1 / (2 * np.maximum(_beta(runs), SINGLE))
    error = 4 * sys.float_info.epsilon * (LARGEST + gain) + SINGLE * _single(runs) * gain
    return np.asarray(np.maximum(ROUNDING, LEVELLED * np.minimum(error**2, SINGLE)))


def _beta(runs: pd.DataFrame) -> np.ndarray:
    """Beta of each run in units in which payoffs are at most 1/2."""
    beta = runs["beta"].to_numpy(float)
    if "game.payoff" not in runs:
        return beta
    logit = (runs["game.payoff"] == "logit").to_numpy()
    units = [
        Payoff("logit", float(clip)).unit if chosen else 1.0
        for chosen, clip in zip(logit, runs["game.clip"], strict=True)
    ]
    return np.asarray(beta / np.array(units))


def _single(runs: pd.DataFrame) -> np.ndarray:
    """True for each run in float32."""
    return (runs["dtype"] == "float32").to_numpy() if "dtype" in runs else np.zeros(len(runs), bool)

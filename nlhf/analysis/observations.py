"""One row per observation: the results of one seed of one method on one setting.

An observation's numbers are functions of its own curve, metric against cost. Nothing is pooled here.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from nlhf.analysis.criterion import PLAIN, Criterion
from nlhf.analysis.row_bounds import upper_bounds
from nlhf.numerics.simplex import SINGLE
from nlhf.stats.curves import FLOOR, ROUNDING, area, cost_to_target, tail_rate

GEOMETRIC = 0.99999  # share of its variance that a line must explain in a bound: a bound that levels off has no rate
PROMISED = {"kl_to_equilibrium": 1.0, "exploitability": 1.0, "span_to_equilibrium": 0.5}  # as shares of kl_bound's rate
LEVELLED = 1e6  # a bound this many times above the rounding that `kl_bound` includes still shows its rate
LARGEST = 10.0  # a usual size of |log reference|
KEYS = ["setting", "method", "seed"]


def observations(data: pd.DataFrame, criterion: Criterion = PLAIN) -> pd.DataFrame:
    """One row per (setting, method, seed) of the rows that `load` returns.

    Seeds that never measured the metric are left out, unless they failed.

    Columns:
        group: the settings that the criterion compares together; game, beta, algorithm, folder, status: as loaded.
        final: log10 of the metric on the last row; inf for a failed run, nan for a run that may continue.
        cost: the cost at which the target was first reached, interpolated in ln(metric) between the two rows around it;
            otherwise the cost at which the run ended, or inf if it failed. An estimated metric reaches the target at
            the first row whose upper confidence bound is below it (see `upper_bounds`).
        reached: True if the target was reached.
        score: log10 of the cost; a run that ended without the target counts with the largest cost of any run on this
            setting that has ended. This restricted cost ranks methods by its mean, whatever share of runs missed the
            target. It is at least the cost of the first row after 0, before which nothing was measured.
        spent: the cost of the last row.
        area: the mean of log10 of the metric over log10 of the cost, from the first row after 0 to the largest cost of
            any method on this setting. The last value continues to that cost. Values below the target count as the
            target, so overshooting it gives no advantage. nan and inf as in `final`.
        rate: the decrease of ln of the metric per unit of cost along the tail; nan if the tail is not a line.
        bound_rate: the rate that the theorem promises for this metric, from `kl_bound`; nan if there is none.
        replica: True if this observation is an exact copy of another one of this setting and method, and must not be
            counted twice; with `seconds` as the cost, also for further seeds of one run, which share a clock.
    """
    criterion.check(data)
    data = data.sort_values([*KEYS, "iteration"], kind="stable")
    measured = data[criterion.metric].notna() | (data["status"] == "failed")
    data = data[measured.groupby([data[name] for name in KEYS]).transform("any")]
    first = data.drop_duplicates(KEYS)
    columns = [name for name in (*KEYS, "game", "beta", "algorithm", "folder", "status") if name in first]
    table = pd.concat([first[columns].reset_index(drop=True), _numbers(data, first, criterion)], axis=1)
    table.insert(0, "group", criterion.group(first).to_numpy())
    table["replica"] = table.duplicated(["setting", "method", "folder" if criterion.x == "seconds" else "curve"])
    return table.drop(columns="curve")


def _numbers(data: pd.DataFrame, first: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    """The numbers of every observation; `first` holds the first row of each."""
    horizon = data[data["status"] != "unfinished"].groupby("setting")[criterion.x].max()
    metric = data[criterion.metric].to_numpy(float)
    logs = np.log10(np.clip(metric, FLOOR, None))
    cost = data[criterion.x].to_numpy(float)
    upper = upper_bounds(data, criterion.metric)
    bound = data["kl_bound"].to_numpy(float) if "kl_bound" in data else np.full(len(data), np.nan)
    promised = PROMISED.get(criterion.metric, np.nan) if criterion.x != "seconds" else np.nan
    starts = np.flatnonzero(~data.duplicated(KEYS).to_numpy())
    ends = np.append(starts[1:], len(data))
    rows = []
    facts = (first["setting"], first["status"], _noise(first), _levels(first))
    for start, end, setting, status, noise, level in zip(starts, ends, *facts, strict=True):
        part, last = slice(start, end), float(horizon.get(setting, np.nan))
        bounds = None if upper is None else upper[part]
        reached_at = cost_to_target(cost[part], metric[part], criterion.target, bounds)
        reached = not np.isnan(reached_at)
        ended_at = np.inf if status == "failed" else float(cost[part][-1])
        value = reached_at if reached else ended_at
        curve = np.maximum(logs[part], np.log10(criterion.target))
        rows.append({
            "cost": value,
            "reached": reached,
            "score": _score(value, reached, status, cost[part], last),
            "spent": float(cost[part][-1]),
            "final": _final(logs[part][-1], status),
            "area": _final(area(cost[part], curve, last), status),
            "rate": tail_rate(cost[part], metric[part], smallest=noise),
            "bound_rate": promised * tail_rate(cost[part], bound[part], GEOMETRIC, level),
            "curve": hash((metric[part].tobytes(), data["iteration"].to_numpy()[part].tobytes())),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _noise(runs: pd.DataFrame) -> np.ndarray:
    """The value below which a metric may be rounding; float32 moves a fixed point by (eps/(2 beta))^2."""
    single = _single(runs)
    if not single.any():
        return np.full(len(runs), ROUNDING)
    beta = runs["beta"].to_numpy(float)
    return np.where(single, np.minimum((SINGLE / np.maximum(2 * beta, SINGLE)) ** 2, SINGLE), ROUNDING)


def _levels(runs: pd.DataFrame) -> np.ndarray:
    """The smallest `kl_bound` of each run that still falls at the theorem's rate (see `Measure.promised`)."""
    if "beta" not in runs:
        return np.full(len(runs), ROUNDING)
    gain = 1 / (2 * np.maximum(runs["beta"].to_numpy(float), SINGLE))
    error = 4 * sys.float_info.epsilon * (LARGEST + gain) + SINGLE * _single(runs) * gain
    return np.asarray(np.maximum(ROUNDING, LEVELLED * np.minimum(error**2, SINGLE)))


def _single(runs: pd.DataFrame) -> np.ndarray:
    """True for each run in float32."""
    return (runs["dtype"] == "float32").to_numpy() if "dtype" in runs else np.zeros(len(runs), bool)


def _final(value: float, status: str) -> float:
    """The value of a completed run; inf for a failed one, and nan for one that may continue."""
    return value if status == "completed" else np.inf if status == "failed" else np.nan


def _score(value: float, reached: bool, status: str, cost: np.ndarray, horizon: float) -> float:
    """log10 of the restricted cost of an observation; nan if the run may still reach the target."""
    if not reached and status not in ("completed", "failed"):
        return float("nan")
    smallest = cost[cost > 0].min() if (cost > 0).any() else 1.0
    value = min(value, horizon) if reached and np.isfinite(horizon) else value if reached else horizon
    return float(np.log10(max(value, smallest)))

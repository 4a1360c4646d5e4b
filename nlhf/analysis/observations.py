"""One row per observation: what one seed of one method on one setting came to.

An observation's numbers are functions of its own curve, metric against cost. Nothing is pooled here.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from scipy import integrate

from nlhf.analysis.criterion import FLOOR, PLAIN, View
from nlhf.numerics.simplex import SINGLE

TAIL = 4  # the tail of a curve is what lies behind a quarter of its cost
LINEAR = 0.99  # share of the variance that a straight line must explain
GEOMETRIC = 0.99999  # of a bound: one that levels off has no rate
PROMISED = {"kl_to_equilibrium": 1.0, "exploitability": 1.0, "span_to_equilibrium": 0.5}  # of the rate of kl_bound
ROUNDING = 1e-26  # smaller values of a metric are too noisy for a rate
LEVELLED = 1e6  # a bound this many times above the rounding that `kl_bound` includes still shows its rate
LARGEST = 10.0  # a usual size of |log reference|
UNIT = ["setting", "method", "seed"]


def units(data: pd.DataFrame, view: View = PLAIN) -> pd.DataFrame:
    """One row per (setting, method, seed) of the rows that `load` returns; those that never measured the metric, and
    did not fail, are left out.

    Columns:
        group: what the view compares apart; game, beta, algorithm, folder, status: as loaded.
        final: log10 of the metric on the last row; inf for a failed run, nan for one that may still go on.
        cost: where the target was reached first, between the two recorded rows around it by a line through ln(metric);
            else where the run ended, inf where it failed.
        reached: was the target reached?
        score: log10 of the cost, where a run that has ended without the target counts with the largest cost of any run
            on this setting that was stopped or has ended: a restricted cost, by whose mean methods can be ranked
            whatever share of them missed. At least that of the first row behind 0, before which nothing is known.
        spent: the cost of the last row.
        area: the mean of log10 of the metric over log10 of the cost, from the first row behind 0 to the largest cost
            of any method on this setting; a run keeps its last value, and values below the target count as the target:
            how far the last step overshot it is no merit. nan, inf as `final`.
        rate: by how much ln of the metric falls per unit of cost along the tail; nan where the tail is no line.
        bound_rate: the rate that the theorem promises for this metric, from `kl_bound`; nan where none does.
        replica: is it no further evidence: equal to the bit to another observation of this setting and method, or
            another seed of the same run on the clock that they share?
    """
    view.check(data)
    data = data.sort_values([*UNIT, "iteration"], kind="stable")
    known = data[view.metric].notna() | (data["status"] == "failed")
    data = data[known.groupby([data[name] for name in UNIT]).transform("any")]
    horizon = data[data["status"] != "unfinished"].groupby("setting")[view.x].max()
    metric = data[view.metric].to_numpy(float)
    logs = np.log10(np.clip(metric, FLOOR, None))
    cost = data[view.x].to_numpy(float)
    bound = data["kl_bound"].to_numpy(float) if "kl_bound" in data else np.full(len(data), np.nan)
    promised = PROMISED.get(view.metric, np.nan) if view.x != "seconds" else np.nan
    first = data.drop_duplicates(UNIT)
    noise, levels = _noise(first), _levels(first)
    starts = np.flatnonzero(~data.duplicated(UNIT).to_numpy())
    ends = np.append(starts[1:], len(data))
    found = []
    facts = (first["setting"], first["status"], noise, levels)
    for start, end, setting, status, least, level in zip(starts, ends, *facts, strict=True):
        part, last = slice(start, end), float(horizon.get(setting, np.nan))
        hit = _hit(cost[part], metric[part], view.target, status)
        found.append(
            hit
            | {
                "score": _score(hit["cost"], bool(hit["reached"]), status, cost[part], last),
                "spent": float(cost[part][-1]),
                "final": _settled(logs[part][-1], status),
                "area": _settled(area(cost[part], np.maximum(logs[part], np.log10(view.target)), last), status),
                "rate": tail_rate(cost[part], metric[part], least=least),
                "bound_rate": promised * tail_rate(cost[part], bound[part], GEOMETRIC, level),
                "curve": hash((metric[part].tobytes(), data["iteration"].to_numpy()[part].tobytes())),
            }
        )
    kept = [name for name in (*UNIT, "game", "beta", "algorithm", "folder", "status") if name in first]
    table = pd.concat([first[kept].reset_index(drop=True), pd.DataFrame(found)], axis=1)
    table.insert(0, "group", view.group(first).to_numpy())
    table["replica"] = table.duplicated(["setting", "method", "folder" if view.x == "seconds" else "curve"])
    return table.drop(columns="curve")


def _noise(runs: pd.DataFrame) -> np.ndarray:
    """Up to where the metrics of runs may be rounding: answers in float32 move a fixed point by (eps / (2 beta))^2."""
    single = (runs["dtype"] == "float32").to_numpy() if "dtype" in runs else np.zeros(len(runs), bool)
    if not single.any():
        return np.full(len(runs), ROUNDING)
    beta = runs["beta"].to_numpy(float)
    return np.where(single, np.minimum((SINGLE / np.maximum(2 * beta, SINGLE)) ** 2, SINGLE), ROUNDING)


def _levels(runs: pd.DataFrame) -> np.ndarray:
    """The smallest `kl_bound` of each run that still falls at the theorem's rate (see `Measure.promised`)."""
    if "beta" not in runs:
        return np.full(len(runs), ROUNDING)
    single = (runs["dtype"] == "float32").to_numpy() if "dtype" in runs else np.zeros(len(runs), bool)
    gain = 1 / (2 * np.maximum(runs["beta"].to_numpy(float), SINGLE))
    error = 4 * sys.float_info.epsilon * (LARGEST + gain) + SINGLE * single * gain
    return np.asarray(np.maximum(ROUNDING, LEVELLED * np.minimum(error**2, SINGLE)))


def _settled(value: float, status: str) -> float:
    """The value of a run that has ended: a failed one is infinitely bad, of another one nothing is known yet."""
    return value if status == "completed" else np.inf if status == "failed" else np.nan


def _hit(cost: np.ndarray, metric: np.ndarray, target: float, status: str) -> dict[str, float | bool]:
    below = np.flatnonzero(metric <= target)
    if len(below):
        return {"cost": _between(cost, metric, int(below[0]), target), "reached": True}
    return {"cost": np.inf if status == "failed" else float(cost[-1]), "reached": False}


def _between(cost: np.ndarray, metric: np.ndarray, row: int, target: float) -> float:
    """Where a line through ln(metric) crosses the target, between a row and the one before it."""
    if row == 0 or not np.isfinite(metric[row - 1]):
        return float(cost[row])
    above, below = np.log(metric[row - 1]), np.log(max(metric[row], FLOOR))
    return float(cost[row - 1] + (cost[row] - cost[row - 1]) * (above - np.log(target)) / (above - below))


def _score(value: float, reached: bool, status: str, cost: np.ndarray, horizon: float) -> float:
    """log10 of a cost that is at least that of the first row behind 0; the horizon's for a run that ended without."""
    if not reached and status not in ("completed", "failed"):
        return float("nan")
    least = cost[cost > 0].min() if (cost > 0).any() else 1.0
    value = min(value, horizon) if reached and np.isfinite(horizon) else value if reached else horizon
    return float(np.log10(max(value, least)))


def area(cost: np.ndarray, logs: np.ndarray, horizon: float) -> float:
    """The mean of `logs` over log10(cost) from the first cost above 0 to `horizon`, by the trapezoidal rule; the last
    value is kept to the horizon."""
    kept = cost > 0
    if not kept.any():
        return float("nan")
    places, values = np.log10(cost[kept]), logs[kept]
    if horizon > cost[-1]:
        places, values = np.append(places, np.log10(horizon)), np.append(values, values[-1])
    length = places[-1] - places[0]
    return float(integrate.trapezoid(values, places) / length) if length > 0 else float(values[-1])


def tail_rate(cost: np.ndarray, metric: np.ndarray, line: float = LINEAR, least: float = ROUNDING) -> float:
    """-d ln(metric)/d cost of the least-squares line through the tail of a curve.

    The tail is what lies behind a quarter of the last cost that has a value above `least`. nan where it has fewer than
    four rows, or where a line explains less than `line` of it: a power law, a cycle or a plateau has no linear rate.
    """
    usable = np.isfinite(metric) & (metric > least)
    if not usable.any():
        return float("nan")
    usable &= cost >= cost[usable][-1] / TAIL
    places, values = cost[usable], np.log(metric[usable])
    if len(places) < 4 or np.ptp(places) == 0 or np.ptp(values) == 0:
        return float("nan")
    slope, level = np.polyfit(places, values, 1)
    unexplained = ((values - level - slope * places) ** 2).sum()
    spread = ((values - values.mean()) ** 2).sum()
    return float(-slope) if unexplained <= (1 - line) * spread else float("nan")

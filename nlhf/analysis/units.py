"""One row per observation: what one seed of one method on one setting came to.

An observation's numbers are functions of its own curve, metric against cost. Nothing is pooled here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import integrate

from nlhf.analysis.view import FLOOR, PLAIN, View

TAIL = 4  # the tail of a curve is what lies behind a quarter of its cost
LINEAR = 0.99  # share of the variance that a straight line must explain
ROUNDING = 1e-26  # smaller values of a metric are too noisy for a rate
UNIT = ["setting", "method", "seed"]


def units(data: pd.DataFrame, view: View = PLAIN) -> pd.DataFrame:
    """One row per (setting, method, seed) of the rows that `load` returns; those that never measured the metric, and
    did not fail, are left out.

    Columns:
        group: what the view compares apart; game, beta, algorithm, folder, status: as loaded.
        final: log10 of the metric on the last row; inf for a failed run, nan for one that may still go on.
        cost: where the target was reached first, on a recorded row; else where the run ended, inf where it failed.
        reached: was the target reached?
        spent: the cost of the last row.
        area: the mean of log10 of the metric over log10 of the cost, from the first row behind 0 to the largest cost
            of any method on this setting; a run keeps its last value. nan, inf as `final`.
        rate: by how much ln of the metric falls per unit of cost along the tail; nan where the tail is no line.
        bound_rate: the same of `kl_bound`, what the theorem promises for KL(pi* || pi).
        replica: is it equal to the bit to another observation of this setting and method, and so no further evidence?
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
    first = data.drop_duplicates(UNIT)
    starts = np.flatnonzero(~data.duplicated(UNIT).to_numpy())
    ends = np.append(starts[1:], len(data))
    found = []
    for start, end, setting, status in zip(starts, ends, first["setting"], first["status"], strict=True):
        part = slice(start, end)
        found.append(
            _hit(cost[part], metric[part], view.target, status)
            | {
                "spent": float(cost[part][-1]),
                "final": _settled(logs[part][-1], status),
                "area": _settled(area(cost[part], logs[part], float(horizon.get(setting, np.nan))), status),
                "rate": tail_rate(cost[part], metric[part]),
                "bound_rate": tail_rate(cost[part], bound[part]),
                "curve": hash((metric[part].tobytes(), data["iteration"].to_numpy()[part].tobytes())),
            }
        )
    kept = [name for name in (*UNIT, "game", "beta", "algorithm", "folder", "status") if name in first]
    table = pd.concat([first[kept].reset_index(drop=True), pd.DataFrame(found)], axis=1)
    table.insert(0, "group", view.group(first).to_numpy())
    table["replica"] = table.duplicated(["setting", "method", "curve"])
    return table.drop(columns="curve")


def _settled(value: float, status: str) -> float:
    """The value of a run that has ended: a failed one is infinitely bad, of another one nothing is known yet."""
    return value if status == "completed" else np.inf if status == "failed" else np.nan


def _hit(cost: np.ndarray, metric: np.ndarray, target: float, status: str) -> dict[str, float | bool]:
    below = np.flatnonzero(metric <= target)
    if len(below):
        return {"cost": float(cost[below[0]]), "reached": True}
    return {"cost": np.inf if status == "failed" else float(cost[-1]), "reached": False}


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


def tail_rate(cost: np.ndarray, metric: np.ndarray) -> float:
    """-d ln(metric)/d cost of the least-squares line through the tail of a curve.

    The tail is what lies behind a quarter of the last cost that has a value above rounding. nan where it has fewer than
    four rows, or where a line explains less than 99% of it: a power law, a cycle or a plateau has no linear rate.
    """
    usable = np.isfinite(metric) & (metric > ROUNDING)
    if not usable.any():
        return float("nan")
    usable &= cost >= cost[usable][-1] / TAIL
    places, values = cost[usable], np.log(metric[usable])
    if len(places) < 4 or np.ptp(places) == 0 or np.ptp(values) == 0:
        return float("nan")
    slope, level = np.polyfit(places, values, 1)
    unexplained = ((values - level - slope * places) ** 2).sum()
    spread = ((values - values.mean()) ** 2).sum()
    return float(-slope) if unexplained <= (1 - LINEAR) * spread else float("nan")

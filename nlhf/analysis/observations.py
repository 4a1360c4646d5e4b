"""One row per observation: the results of one seed of one method on one setting.

An observation's numbers are functions of its own curve, metric against cost, and of the setting's horizon, the cost at
which its methods are compared.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.criterion import PLAIN, Criterion
from nlhf.analysis.horizon import horizons
from nlhf.analysis.rates import bound_rates, tail_rates
from nlhf.analysis.row_bounds import upper_bounds
from nlhf.stats.curves import FLOOR, area, cost_to_target, rows_around, value_at

KEYS = ["setting", "method", "seed"]
FROM_ROWS = ("game", "beta", "algorithm", "folder", "status", "random")


def observations(data: pd.DataFrame, criterion: Criterion = PLAIN, share: float = 1.0) -> pd.DataFrame:
    """One row per (setting, method, seed) of the rows that `load` returns.

    Seeds that never measured the metric are left out, unless they failed.

    Args:
        share: of the horizon, to see whether results depend on it.

    Columns:
        group: the settings that the criterion compares together.
        game, beta, algorithm, folder, status, random: as loaded.
        cost: the cost at which the target was first reached, interpolated in ln(metric) between the two rows around it,
            whose costs are `cost_before` and `cost_after`; otherwise the cost at which the run ended, or inf if it
            failed. An estimated metric reaches the target at the first row whose upper confidence bound is below it
            (see `upper_bounds`).
        reached: True if the target was reached.
        horizon: of the setting (see `horizons`).
        hit: True if the target was reached within the horizon.
        score: log10 of the cost, restricted to the horizon. It is at least the cost of the first row after 0, before
            which nothing was measured.
        value: log10 of the metric at the horizon, interpolated between rows; inf for a failed run, and for a run that
            has not ended and has not reached the target.
        final: log10 of the metric on the last row; inf for a failed run, nan for a run that may continue.
        spent: the cost of the last row.
        smallest: the cost of the first row after 0; without one, that of other methods.
        area: the mean of log10 of the metric over log10 of the cost, from the first row after 0 of any method on this
            setting to the horizon. The first and the last value continue to these ends. Values below the target count
            as the target, so overshooting it gives no advantage. nan and inf as in `final`.
        rate: the decrease of ln of the metric per unit of cost along the tail; nan if the tail is not a line.
        bound_rate: the rate that the theorem promises for this metric, from `kl_bound`; nan if there is none.
        curve: equal for observations with the same rows; with `seconds` as the cost, for seeds of one run, which share
            a clock.
        replica: True if this observation has the curve of another one of this setting and method, and must not be
            counted twice.
    """
    criterion.check(data)
    data = data.sort_values([*KEYS, "iteration"], kind="stable")
    measured = data[criterion.metric].notna() | (data["status"] == "failed")
    data = data[measured.groupby([data[name] for name in KEYS]).transform("any")]
    first = data.drop_duplicates(KEYS)
    table = first[[name for name in (*KEYS, *FROM_ROWS) if name in first]].reset_index(drop=True)
    curves = _Curves(data, criterion)
    table = pd.concat([table, curves.passages()], axis=1)
    of_setting = table.groupby("setting")["smallest"].transform("min")
    table["smallest"] = table["smallest"].fillna(of_setting).fillna(1.0)
    table["horizon"] = horizons(table, criterion, share)
    table = pd.concat([table, curves.at_horizon(table), curves.rates(first)], axis=1)
    table.insert(0, "group", criterion.group(first).to_numpy())
    if criterion.x == "seconds":
        table["curve"] = table["folder"]
    return table.assign(replica=table.duplicated(["setting", "method", "curve"]))


class _Curves:
    """The curves of all observations, sorted as the observations are."""

    def __init__(self, data: pd.DataFrame, criterion: Criterion) -> None:
        self.criterion = criterion
        self.metric = data[criterion.metric].to_numpy(float)
        self.logs = np.log10(np.clip(self.metric, FLOOR, None))
        self.cost = data[criterion.x].to_numpy(float)
        self.iteration = data["iteration"].to_numpy()
        self.bound = data["kl_bound"].to_numpy(float) if "kl_bound" in data else np.full(len(data), np.nan)
        self.upper = upper_bounds(data, criterion.metric)
        starts = np.flatnonzero(~data.duplicated(KEYS).to_numpy())
        self.parts = [slice(*ends) for ends in zip(starts, np.append(starts[1:], len(data)), strict=True)]
        self.status = data["status"].to_numpy()[starts]

    def passages(self) -> pd.DataFrame:
        """When each observation reached the target, and what it spent."""
        rows = []
        for part, status in zip(self.parts, self.status, strict=True):
            cost, metric = self.cost[part], self.metric[part]
            upper = None if self.upper is None else self.upper[part]
            reached_at = cost_to_target(cost, metric, self.criterion.target, upper)
            before, after = rows_around(cost, metric, self.criterion.target, upper)
            reached, ended_at = not np.isnan(reached_at), np.inf if status == "failed" else float(cost[-1])
            rows.append({
                "cost": reached_at if reached else ended_at,
                "cost_before": before if reached else ended_at,
                "cost_after": after if reached else ended_at,
                "reached": reached,
                "spent": float(cost[-1]),
                "smallest": float(cost[cost > 0].min()) if (cost > 0).any() else np.nan,
                "curve": hash((metric.tobytes(), self.iteration[part].tobytes())),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def at_horizon(self, table: pd.DataFrame) -> pd.DataFrame:
        """The columns that depend on the horizon of the setting."""
        horizon = table["horizon"].to_numpy()
        start = table.groupby("setting")["smallest"].transform("min").to_numpy()
        hit = table["reached"].to_numpy() & (table["cost"].to_numpy() <= horizon)
        smallest = table["smallest"].to_numpy()
        value, mean = [], []
        for part, status, end, low in zip(self.parts, self.status, horizon, start, strict=True):
            cost, logs = self.cost[part], self.logs[part]
            at_end = value_at(cost, logs, end)
            value.append(at_end if status == "completed" else np.inf)
            above = np.maximum(logs, np.log10(self.criterion.target))
            mean.append(_final(area(cost, above, low, end), status))
        restricted = np.clip(np.where(hit, table["cost"], horizon), smallest, None)
        final = [_final(self.logs[part][-1], status) for part, status in zip(self.parts, self.status, strict=True)]
        columns = {"hit": hit, "score": np.log10(restricted), "value": value, "final": final, "area": mean}
        return pd.DataFrame(columns)

    def rates(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The rates of the tails, and those of the theorem."""
        measured = tail_rates(runs, self.parts, self.cost, self.metric)
        return pd.DataFrame({
            "rate": measured,
            "bound_rate": bound_rates(runs, self.parts, self.cost, self.bound, self.criterion),
        })  # fmt: skip


def _final(value: float, status: str) -> float:
    """The value of a completed run; inf for a failed one, and nan for one that may continue."""
    return value if status == "completed" else np.inf if status == "failed" else np.nan

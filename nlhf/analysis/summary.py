"""A ranked row per method and group: costs, final values and rates, with 95% intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.stats import bootstrap, survival

DIGITS = 12  # of a mean score: the mean of ten equal numbers may differ from each of them by rounding


def summarise(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, method), the best first in each group.

    Methods are ranked by the mean of `score`, then by the final value. Exact copies of another observation
    count for no statistic.

    Columns: `group, method, algorithm, rank`; `runs`, `completed`, `failed`, `unfinished` (with interrupted runs);
    `seeds`, the number of different observations, and `replicas`, the number of copies; `tried`, how many
    configurations of this algorithm were run in this group; `cost`, the median cost to the target with `cost_low`,
    `cost_high` (Kaplan-Meier where runs end without it, inf where half or more never reach it), `reached`, the share
    that reaches it; `score`, the mean restricted log10 cost; `spent`, the largest cost of a run; `final` and
    `final_mean`, median and mean of log10 of the final value, with intervals `_low`, `_high`; `area`, the mean log10
    value over the curve; `rate` and `bound_rate`, means, with `rate_low`, `rate_high`, and nan where fewer than half of
    the tails are lines.
    """
    rows = [
        {"group": group, "method": method, **_summary(members)}
        for (group, method), members in observations.groupby(["group", "method"], sort=True)
    ]
    table = pd.DataFrame(rows)
    table["tried"] = table.groupby(["group", "algorithm"])["method"].transform("nunique")
    table = table.sort_values(["group", "score", "final", "method"], kind="stable", na_position="last")
    table.insert(0, "rank", table.groupby("group").cumcount() + 1)
    return table.reset_index(drop=True)


def ends(name: str, interval: bootstrap.Interval) -> dict[str, float]:
    """The two columns of an interval."""
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def _summary(members: pd.DataFrame) -> dict[str, object]:
    counted = members[~members["replica"]]
    strata = counted["setting"].factorize()[0]
    return {
        "algorithm": members["algorithm"].iloc[0],
        **_states(members),
        "seeds": len(counted),
        "replicas": len(members) - len(counted),
        **_cost(counted, strata),
        "spent": float(members["spent"].max()),
        **_final(counted, strata),
        "area": _mean(counted["area"]),
        **_rate(counted, strata),
        "bound_rate": _mean(counted["bound_rate"]),
    }


def _states(members: pd.DataFrame) -> dict[str, int]:
    """How many runs there are, and how they ended."""
    status = members.drop_duplicates("folder")["status"].value_counts()
    runs, completed, failed = int(status.sum()), int(status.get("completed", 0)), int(status.get("failed", 0))
    return {"runs": runs, "completed": completed, "failed": failed, "unfinished": runs - completed - failed}


def _cost(counted: pd.DataFrame, strata: np.ndarray) -> dict[str, float]:
    cost, reached = counted["cost"].to_numpy(), counted["reached"].to_numpy()
    return {
        "cost": float(survival.censored_median(cost, reached)[0]),
        **ends("cost", survival.censored_median_interval(cost, reached, strata)),
        "reached": float(reached.mean()),
        "score": round(float(counted["score"].mean()), DIGITS),
    }


def _final(counted: pd.DataFrame, strata: np.ndarray) -> dict[str, float]:
    measured = counted["final"].notna().to_numpy()
    values, strata = counted["final"].to_numpy()[measured], strata[measured]
    return {
        "final": float(bootstrap.median(values)) if len(values) else np.nan,
        **ends("final", bootstrap.interval(values, bootstrap.median, strata)),
        "final_mean": float(values.mean()) if len(values) else np.nan,
        **ends("final_mean", bootstrap.mean_interval(values, strata)),
    }


def _rate(counted: pd.DataFrame, strata: np.ndarray) -> dict[str, float]:
    """The mean rate; nan unless at least half of the tails have one."""
    linear = counted["rate"].notna().to_numpy()
    if linear.mean() < 0.5:
        return {"rate": np.nan, **ends("rate", bootstrap.NONE)}
    rate = counted["rate"].to_numpy()[linear]
    return {"rate": float(rate.mean()), **ends("rate", bootstrap.mean_interval(rate, strata[linear]))}


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else np.nan

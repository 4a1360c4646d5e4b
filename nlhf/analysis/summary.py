"""A ranked row per method and group: costs, final values and rates, with 95% intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.blocks import distinct_seeds
from nlhf.analysis.ranks import Group, group_of
from nlhf.stats import bootstrap, survival
from nlhf.stats.medians import median_interval


def summarise(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, method), the best first in each group.

    Methods are ranked by their mean rank over the blocks (setting, seed) that all ranked methods have (see `group_of`);
    methods without a rank come last, with their statistics on all their blocks. Seeds that repeat others exactly count
    for no statistic. Medians of several
    settings are medians over seeds of the median over settings.

    Columns:
        group, method, algorithm.
        rank, mean_rank: nan for methods without a rank; `unranked` holds the reason.
        rank_low, rank_high: ranks that hold for all methods at once with 95%.
        best: True for the methods with the lowest mean rank.
        runs, completed, failed, unfinished: numbers of runs; unfinished ones include interrupted ones.
        settings, seeds: numbers of settings and of different seeds.
        replicas: the number of observations of seeds that only repeat others.
        tried: how many configurations of this algorithm were run in this group.
        cost, cost_low, cost_high: the median cost to the target, by Kaplan-Meier where runs end without it; inf where
            half or more never reach it. The interval includes the width of the two rows around the target; for one
            observation it is this width.
        reached, hit: the shares that reach the target, with their own budgets and within the horizon.
        misses: the number of observations that do not reach it within the horizon.
        horizon, spent: the largest horizon of the settings, and the largest cost of a run.
        score, value, final, area, rate: medians with intervals `_low` and `_high`: of log10 of the cost restricted to
            the horizon, of log10 of the metric at the horizon and on the last row, of its mean over the curve, and of
            the rate of the tail, which is nan where fewer than half of the tails are lines.
        bound_rate: the mean rate of the theorem.
    """
    tables = [_of_group(str(name), members) for name, members in observations.groupby("group", sort=True)]
    table = pd.concat(tables, ignore_index=True)
    table["tried"] = table.groupby(["group", "algorithm"])["method"].transform("nunique")
    return table


def interval_columns(name: str, interval: bootstrap.Interval) -> dict[str, float]:
    """The two columns of an interval."""
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def seed_medians(members: pd.DataFrame, column: str) -> np.ndarray:
    """The median over settings of a column, one number per seed; missing values are left out."""
    by_seed = members.dropna(subset=column).groupby("seed")[column]
    return np.array([float(bootstrap.median(values.to_numpy())) for _, values in by_seed])


def median_of(members: pd.DataFrame, column: str) -> dict[str, float]:
    """The median over seeds of a column, with its interval; nan without values."""
    values = seed_medians(members, column)
    value = float(bootstrap.median(values)) if len(values) else np.nan
    return {column: value, **interval_columns(column, median_interval(values))}


def _of_group(name: str, observations: pd.DataFrame) -> pd.DataFrame:
    group = group_of(observations)
    compared = dict(iter(group.observations.groupby("method")))
    rows = [
        {
            "group": name,
            "method": str(method),
            "algorithm": members["algorithm"].iloc[0],
            **_ranks(str(method), group),
            **_states(members),
            **_summary(compared.get(method, members)),
        }
        for method, members in observations.groupby("method", sort=True)
    ]
    order = ["mean_rank", "cost", "final", "method"]
    table = pd.DataFrame(rows).sort_values(order, kind="stable", na_position="last", ignore_index=True)
    table.insert(0, "rank", table["mean_rank"].rank(method="min"))
    return table


def _ranks(method: str, group: Group) -> dict[str, object]:
    if method not in group.ranks:
        reason = {"unranked": group.unranked[method], "best": False}
        return {"mean_rank": np.nan, "rank_low": np.nan, "rank_high": np.nan, **reason}
    low, high = group.rank_ranges[method]
    ranks = {"mean_rank": group.mean_ranks[method], "rank_low": low, "rank_high": high}
    return {**ranks, "unranked": "", "best": method in group.winners}


def _summary(members: pd.DataFrame) -> dict[str, object]:
    counted = distinct_seeds(members)
    return {
        "settings": members["setting"].nunique(),
        "seeds": counted["seed"].nunique(),
        **_cost(counted),
        "spent": float(members["spent"].max()),
        **median_of(counted, "score"),
        **median_of(counted, "value"),
        **median_of(counted, "final"),
        **median_of(counted, "area"),
        **_rate(counted),
        "bound_rate": float(counted["bound_rate"].mean()),
    }


def _states(members: pd.DataFrame) -> dict[str, int]:
    """How many runs there are, how they ended, and how many observations only repeat others."""
    status = members.drop_duplicates("folder")["status"].value_counts()
    runs, completed, failed = int(status.sum()), int(status.get("completed", 0)), int(status.get("failed", 0))
    states = {"runs": runs, "completed": completed, "failed": failed, "unfinished": runs - completed - failed}
    return {**states, "replicas": len(members) - len(distinct_seeds(members))}


def _cost(counted: pd.DataFrame) -> dict[str, float]:
    """The median cost; each end of its interval uses the row on its side of the target."""
    reached, seed = counted["reached"].to_numpy(), counted["seed"].to_numpy()
    low, _ = survival.censored_median_interval(counted["cost_before"].to_numpy(), reached, seed)
    _, high = survival.censored_median_interval(counted["cost_after"].to_numpy(), reached, seed)
    if len(counted) == 1 and reached.all():
        low, high = float(counted["cost_before"].iloc[0]), float(counted["cost_after"].iloc[0])
    return {
        "cost": float(survival.censored_median(counted["cost"].to_numpy(), reached)[0]),
        **interval_columns("cost", (low, high)),
        "reached": float(reached.mean()),
        "hit": float(counted["hit"].mean()),
        "misses": int((~counted["hit"]).sum()),
        "horizon": float(counted["horizon"].max()),
    }


def _rate(counted: pd.DataFrame) -> dict[str, float]:
    """The median rate; nan unless at least half of the tails have one."""
    if counted["rate"].notna().mean() < 0.5:
        return {"rate": np.nan, **interval_columns("rate", bootstrap.NONE)}
    return median_of(counted, "rate")

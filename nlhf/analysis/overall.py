"""Methods over all settings: interquartile means, wins, and performance profiles."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from nlhf.analysis.comparison import PAIR
from nlhf.analysis.summary import DIGITS, ends
from nlhf.stats import bootstrap

COLUMNS = ("method", "settings", "seeds", "reached", "score", "score_low", "score_high", "area", "area_low",
           "area_high", "wins")  # fmt: skip


def overall(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per method that ran on every setting, over all settings x seeds.

    Columns: `method`; `settings, seeds`; `score`, the interquartile mean over observations, with an interval that
    resamples seeds within settings (arXiv:2108.13264); `area`, likewise; `reached`, the share of observations that
    reach the target; `wins`, the number of settings in which the method is the best; tied methods all win.
    """
    settings = observations["setting"].nunique()
    rows, wins = [], _wins(observations)
    for method, members in observations[~observations["replica"]].groupby("method", sort=True):
        if members["setting"].nunique() < settings:
            continue
        row: dict[str, object] = {
            "method": method, "settings": settings, "seeds": len(members), "reached": float(members["reached"].mean()),
            "wins": wins.get(str(method), 0),
        }  # fmt: skip
        for name in ("score", "area"):
            measured = members.dropna(subset=name)
            values, strata = measured[name].to_numpy(), measured["setting"].factorize()[0]
            row[name] = float(bootstrap.interquartile_mean(values)) if len(values) else np.nan
            row |= ends(name, bootstrap.interval(values, bootstrap.interquartile_mean, strata))
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("score", ignore_index=True)


def _wins(observations: pd.DataFrame) -> Counter[str]:
    """The number of settings in which each method has the lowest mean score.

    Where no method reaches the target, the lowest median final value wins.
    """
    won: Counter[str] = Counter()
    for _, members in observations[~observations["replica"]].groupby("setting"):
        by_method = members.groupby("method")
        values = by_method["score"].mean().round(DIGITS) if members["reached"].any() else by_method["final"].median()
        won.update(str(method) for method in values.index[values == values.min()] if np.isfinite(values[method]))
    return won


def profile(observations: pd.DataFrame, factors: np.ndarray) -> pd.DataFrame:
    """The performance profile of Dolan and Moré (2002).

    Args:
        factors: (F), >= 1.

    Returns: a row per factor, a column per method: the share of the (setting, seed) it ran on that it solves within
        this factor of the lowest cost of any method there. Pairs that no method solves count as unsolved.
    """
    distinct = observations[~observations.groupby(PAIR)["replica"].transform("all")]
    costs = distinct.assign(cost=distinct["cost"].where(distinct["reached"], np.inf))
    table = costs.set_index([*PAIR, "method"])["cost"].unstack("method")
    best = table.min(axis=1)
    ratio = table.div(best, axis=0).mask(table.eq(best, axis=0) & np.isfinite(table), 1.0)
    solved = {method: ratio[method][table[method].notna()].to_numpy()[:, None] <= factors for method in table}
    shares = {method: within.mean(0) for method, within in solved.items()}
    return pd.DataFrame(shares, index=pd.Index(factors, name="factor"))

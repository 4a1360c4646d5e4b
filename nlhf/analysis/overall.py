"""Methods over all settings: mean ranks, wins, and performance profiles."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from nlhf.analysis.blocks import BLOCK
from nlhf.analysis.comparison import against, compare
from nlhf.analysis.ranks import group_of
from nlhf.analysis.summary import summarise

ALL = "all settings"


def overall(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per method over all settings, the best first: `summarise` with all settings as one group.

    Methods that did not run on every setting are left out; the others are compared on common seeds.

    Further columns: `wins`, the number of settings in which the method has the lowest mean rank; tied methods all win;
    `ratio`, with `ratio_low`, `ratio_high`, and `p`, Holm's p-value, against the method that ranks first.
    """
    settings = observations["setting"].nunique()
    everywhere = observations.groupby("method")["setting"].transform("nunique") == settings
    pooled = observations[everywhere].assign(group=ALL)
    if pooled.empty:
        return pd.DataFrame(columns=["method", "rank", "wins"])
    table = summarise(pooled)
    wins = _wins(observations)
    comparisons, first = compare(pooled), str(table["method"].iloc[0])
    pairs = [against(comparisons, ALL, str(method), first) for method in table["method"]]
    columns = {name: [getattr(pair, name) for pair in pairs] for name in ("ratio", "ratio_low", "ratio_high", "p")}
    return table.assign(wins=[wins.get(str(method), 0) for method in table["method"]], **columns)


def _wins(observations: pd.DataFrame) -> Counter[str]:
    """The number of settings in which each method has the lowest mean rank."""
    return Counter(name for _, members in observations.groupby("setting") for name in group_of(members).winners)


def profile(observations: pd.DataFrame, factors: np.ndarray) -> pd.DataFrame:
    """The performance profile of Dolan and Moré (2002).

    Args:
        factors: (F), >= 1.

    Returns: a row per factor, a column per method: the share of the (setting, seed) it ran on that it solves within
        this factor of the lowest cost of any method there. Pairs that no method solves count as unsolved.
    """
    distinct = observations[~observations.groupby(BLOCK)["replica"].transform("all")]
    costs = distinct.assign(cost=distinct["cost"].where(distinct["reached"], np.inf))
    table = costs.set_index([*BLOCK, "method"])["cost"].unstack("method")
    best = table.min(axis=1)
    ratio = table.div(best, axis=0).mask(table.eq(best, axis=0) & np.isfinite(table), 1.0)
    solved = {method: ratio[method][table[method].notna()].to_numpy()[:, None] <= factors for method in table}
    shares = {method: within.mean(0) for method, within in solved.items()}
    return pd.DataFrame(shares, index=pd.Index(factors, name="factor"))

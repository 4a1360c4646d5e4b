"""Which of two methods is better, by how much, and whether chance explains it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from nlhf.analysis.summary import ends
from nlhf.stats import bootstrap
from nlhf.stats.proportions import wilson
from nlhf.stats.significance import holm, pairs_needed, signed_rank

PAIR = ["setting", "seed"]
COLUMNS = ("group", "first", "second", "quantity", "pairs", "ratio", "ratio_low", "ratio_high", "better",
           "better_low", "better_high", "p", "p_holm")  # fmt: skip


def compare(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, pair of methods), paired by (setting, seed).

    The compared quantity is log10 of the cost to the target, or of the final value if neither method ever reaches the
    target. A run that reaches the target beats one that does not. If neither does, a completed run beats a failed one,
    and two completed runs are equal. Pairs whose order is unknown because a run ended early are left out.

    Columns: `group, first, second`; `quantity`, `cost` or `final`; `pairs`, without pairs of exact copies; `ratio`,
    10^(median difference of first - second), with `ratio_low`, `ratio_high`; `better`, the share of pairs in which the
    first is better, ties one half, with `better_low`, `better_high`; `p`, the two-sided p-value of Wilcoxon's
    signed-rank test, nan below five pairs; `p_holm`, corrected for all pairs of the group.
    """
    rows = []
    for group, members in observations.groupby("group", sort=True):
        by_method = dict(iter(members.set_index(PAIR).groupby("method", sort=True)))
        pairs = list(combinations(by_method, 2))
        compared = [_pair(by_method[a], by_method[b]) for a, b in pairs]
        corrected = holm([float(row["p"]) for row in compared])
        for (a, b), row, p in zip(pairs, compared, corrected, strict=True):
            rows.append({"group": group, "first": a, "second": b, **row, "p_holm": p})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _pair(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    both = first.add_suffix("_a").join(second.add_suffix("_b"), how="inner")
    both = both[~(both["replica_a"] & both["replica_b"])]
    quantity = "cost" if (both["reached_a"] | both["reached_b"]).any() else "final"
    difference = _cost_difference(both) if quantity == "cost" else _final_difference(both)
    defined = difference.notna().to_numpy()
    values, strata = difference.to_numpy()[defined], both.index.get_level_values("setting").factorize()[0][defined]
    wins = float((values < 0).sum() + (values == 0).sum() / 2)
    low, high = bootstrap.interval(values, bootstrap.median, strata)
    with np.errstate(over="ignore"):
        return {
            "quantity": quantity,
            "pairs": len(values),
            "ratio": float(10 ** bootstrap.median(values)) if len(values) else np.nan,
            **ends("ratio", (float(np.power(10.0, low)), float(np.power(10.0, high)))),
            "better": wins / len(values) if len(values) else np.nan,
            **ends("better", wilson(wins, len(values))),
            "p": signed_rank(values),
        }


def _cost_difference(both: pd.DataFrame) -> pd.Series:
    """log10 cost_a - log10 cost_b; +-inf if only one reaches the target, nan if the order is unknown."""
    a, b = both["cost_a"].to_numpy(), both["cost_b"].to_numpy()
    hit_a, hit_b = both["reached_a"].to_numpy(), both["reached_b"].to_numpy()
    ended_a, ended_b = (both[f"status_{side}"].isin(["completed", "failed"]).to_numpy() for side in "ab")
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.where(hit_a & hit_b, np.log10(a) - np.log10(b), 0.0)
    difference = np.where(hit_a & hit_b & (a == b), 0.0, difference)
    difference = np.where(hit_a & ~hit_b, np.where(b >= a, -np.inf, np.nan), difference)
    difference = np.where(hit_b & ~hit_a, np.where(a >= b, np.inf, np.nan), difference)
    neither = ~hit_a & ~hit_b
    failed_a, failed_b = (both[f"status_{side}"].eq("failed").to_numpy() for side in "ab")
    difference = np.where(neither & failed_a & ~failed_b, np.inf, difference)
    difference = np.where(neither & failed_b & ~failed_a, -np.inf, difference)
    difference = np.where(neither & ~(ended_a & ended_b), np.nan, difference)
    return pd.Series(difference, index=both.index)


def _final_difference(both: pd.DataFrame) -> pd.Series:
    """final_a - final_b; two infinite values are equal."""
    a, b = both["final_a"], both["final_b"]
    return (a - b).mask(np.isinf(a) & (a == b), 0.0)


def seeds_needed(observations: pd.DataFrame) -> dict[str, int]:
    """The number of pairs that each group needs before Holm's correction can give p < 0.05."""
    methods = observations.groupby("group", sort=True)["method"].nunique()
    return {str(group): pairs_needed(count * (count - 1) // 2) for group, count in methods.items()}

"""Which method is best, by how much, and is it luck: tables made of the observations that `units` returns.

* `summarise`: a row per (group, method), ranked.
* `compare`: a row per (group, pair of methods), paired by (setting, seed), Wilcoxon's signed-rank test with Holm's
  correction over all pairs of the group.
* `overall`: a row per method over all settings, interquartile mean and share of settings x seeds that were solved.
* `profile`: the performance profile of Dolan and Moré (2002).

A replication that is equal to the bit is no evidence: it is left out of every interval and every test.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from nlhf.stats import bootstrap

PAIR = ["setting", "seed"]
EXACT = 100  # differences up to which the signed-rank test is exact
DIGITS = 12  # of a mean score: the mean of ten equal numbers is another number than that of one of them


def summarise(units: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, method), the best first in each group: by the mean of `score`, then by the last value.

    Columns: `group, method, algorithm, rank`; `runs`, `completed`, `failed`, `unfinished` (interrupted ones too);
    `seeds`, the observations that differ; `tried`, how many configurations of this algorithm were run in this group;
    `cost`, the median cost to the target with `cost_low`, `cost_high` (Kaplan and Meier where runs ended without it,
    inf where half or more never reach it), `reached`, the share that did; `score`, the mean restricted log10 cost;
    `spent`, the largest cost of a run; `final` and `final_mean`, median and mean
    of log10 of the last value, with intervals `_low`, `_high`; `area`, mean; `rate` and `bound_rate`, means, with
    `rate_low`, `rate_high`; no rate where fewer than half of the tails are lines.
    """
    rows = [
        {"group": group, "method": method, **_summary(members)}
        for (group, method), members in units.groupby(["group", "method"], sort=True)
    ]
    table = pd.DataFrame(rows)
    table["tried"] = table.groupby(["group", "algorithm"])["method"].transform("nunique")
    table = table.sort_values(["group", "score", "final", "method"], kind="stable", na_position="last")
    table.insert(0, "rank", table.groupby("group").cumcount() + 1)
    return table.reset_index(drop=True)


def _summary(members: pd.DataFrame) -> dict[str, object]:
    kept = members[~members["replica"]]
    strata = kept["setting"].factorize()[0]
    cost, reached = kept["cost"].to_numpy(), kept["reached"].to_numpy()
    known = kept["final"].notna().to_numpy()
    final, of_final = kept["final"].to_numpy()[known], strata[known]
    rates = kept["rate"].notna().to_numpy()
    rate = kept["rate"].to_numpy()[rates]
    status = members.drop_duplicates("folder")["status"].value_counts()
    completed, failed = int(status.get("completed", 0)), int(status.get("failed", 0))
    return {
        "algorithm": members["algorithm"].iloc[0],
        "runs": int(status.sum()),
        "completed": completed,
        "failed": failed,
        "unfinished": int(status.sum()) - completed - failed,
        "seeds": len(kept),
        "replicas": len(members) - len(kept),
        "cost": float(bootstrap.censored_median(cost, reached)[0]),
        **_ends("cost", bootstrap.censored_median_interval(cost, reached, strata)),
        "reached": float(reached.mean()),
        "score": round(float(kept["score"].mean()), DIGITS),
        "spent": float(members["spent"].max()),
        "final": float(bootstrap.median(final)) if len(final) else np.nan,
        **_ends("final", bootstrap.interval(final, bootstrap.median, of_final)),
        "final_mean": float(final.mean()) if len(final) else np.nan,
        **_ends("final_mean", bootstrap.mean_interval(final, of_final)),
        "area": float(kept["area"].mean()) if kept["area"].notna().any() else np.nan,
        "rate": float(rate.mean()) if rates.mean() >= 0.5 else np.nan,
        **_ends("rate", bootstrap.mean_interval(rate, strata[rates]) if rates.mean() >= 0.5 else bootstrap.NONE),
        "bound_rate": float(kept["bound_rate"].mean()) if kept["bound_rate"].notna().any() else np.nan,
    }


def _ends(name: str, interval: bootstrap.Interval) -> dict[str, float]:
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def compare(units: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, pair of methods), paired by (setting, seed).

    What is compared is log10 of the cost to the target, or of the last value where neither method reaches the target;
    a run that reaches the target beats one that does not, one that completed beats one that failed where neither does,
    two that completed without it are equal, and a pair of which an early end leaves the order open is left out.

    Columns: `group, first, second`; `quantity`, `cost` or `final`; `pairs`, those that differ from each other in more
    than their seed's number; `ratio`, 10^(median difference of first - second), with `ratio_low`, `ratio_high`;
    `better`, the share of pairs in which the first is better, ties one half, with `better_low`, `better_high`; `p` of
    Wilcoxon's test, two-sided, nan below five pairs; `p_holm`.
    """
    rows = []
    for group, members in units.groupby("group", sort=True):
        by_method = dict(iter(members.set_index(PAIR).groupby("method", sort=True)))
        pairs = list(combinations(by_method, 2))
        found = [_pair(by_method[a], by_method[b]) for a, b in pairs]
        corrected = holm([float(row["p"]) for row in found])
        for (a, b), row, p in zip(pairs, found, corrected, strict=True):
            rows.append({"group": group, "first": a, "second": b, **row, "p_holm": p})
    columns = ["group", "first", "second", "quantity", "pairs", "ratio", "ratio_low", "ratio_high", "better",
               "better_low", "better_high", "p", "p_holm"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _pair(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    both = first.add_suffix("_a").join(second.add_suffix("_b"), how="inner")
    both = both[~(both["replica_a"] & both["replica_b"])]
    quantity = "cost" if (both["reached_a"] | both["reached_b"]).any() else "final"
    difference = _cost_difference(both) if quantity == "cost" else _difference(both["final_a"], both["final_b"])
    known = difference.notna().to_numpy()
    values, strata = difference.to_numpy()[known], both.index.get_level_values("setting").factorize()[0][known]
    wins = float((values < 0).sum() + (values == 0).sum() / 2)
    low, high = bootstrap.interval(values, bootstrap.median, strata)
    with np.errstate(over="ignore"):
        return {
            "quantity": quantity,
            "pairs": len(values),
            "ratio": float(10 ** bootstrap.median(values)) if len(values) else np.nan,
            **_ends("ratio", (float(np.power(10.0, low)), float(np.power(10.0, high)))),
            "better": wins / len(values) if len(values) else np.nan,
            **_ends("better", bootstrap.share_interval(wins, len(values))),
            "p": signed_rank(values),
        }


def _cost_difference(both: pd.DataFrame) -> pd.Series:
    """log10 cost_a - log10 cost_b; +-inf where one alone reaches the target, nan where an early end leaves it open."""
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


def _difference(a: pd.Series, b: pd.Series) -> pd.Series:
    """a - b, where two infinite values are equal."""
    return (a - b).mask(np.isinf(a) & (a == b), 0.0)


def signed_rank(difference: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros left out; infinite differences are the largest. nan below five
    differences.

    Exact up to EXACT differences, ties included: the distribution of the sum of positive ranks over all signs, by
    adding one rank after the other (doubled, so that mid-ranks are whole); beyond, the normal approximation.
    """
    if len(difference) < bootstrap.FEWEST:
        return float("nan")
    moved = difference[difference != 0]
    if not len(moved):
        return 1.0
    if len(moved) > EXACT:
        largest = 2 * np.abs(moved[np.isfinite(moved)]).max(initial=0.5)
        return float(stats.wilcoxon(np.clip(moved, -largest, largest), method="asymptotic").pvalue)
    ranks = np.rint(2 * stats.rankdata(np.abs(moved))).astype(int)
    chance = np.zeros(ranks.sum() + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance = (chance + np.concatenate([np.zeros(rank), chance[:-rank]])) / 2
    positive = ranks[moved > 0].sum()
    return float(min(1.0, 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())))


def holm(p: list[float]) -> list[float]:
    """Holm's step-down correction of the p-values that are not nan."""
    known = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    corrected, largest = [float("nan")] * len(p), 0.0
    for place, index in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p[index]))
        corrected[index] = largest
    return corrected


def overall(units: pd.DataFrame) -> pd.DataFrame:
    """A row per method that ran on every setting, over all settings x seeds.

    Columns: `method`; `settings, seeds`; `score`, the interquartile mean over observations, with an interval that draws
    seeds within settings (arXiv:2108.13264); `area`, the same; `reached`, the share of observations that reach the
    target; `wins`, the number of settings in which it is the best; where methods share that, each has won.
    """
    settings = units["setting"].nunique()
    rows, wins = [], _wins(units)
    for method, members in units[~units["replica"]].groupby("method", sort=True):
        if members["setting"].nunique() < settings:
            continue
        row: dict[str, object] = {"method": method, "settings": settings, "seeds": len(members),
                                  "reached": float(members["reached"].mean())}  # fmt: skip
        for name in ("score", "area"):
            known = members.dropna(subset=name)
            values, strata = known[name].to_numpy(), known["setting"].factorize()[0]
            row[name] = float(bootstrap.interquartile_mean(values)) if len(values) else np.nan
            row |= _ends(name, bootstrap.interval(values, bootstrap.interquartile_mean, strata))
        rows.append(row | {"wins": wins.get(str(method), 0)})
    columns = ["method", "settings", "seeds", "reached", "score", "score_low", "score_high", "area", "area_low",
               "area_high", "wins"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).sort_values("score", ignore_index=True)


def _wins(units: pd.DataFrame) -> Counter[str]:
    """In how many settings every method has the lowest mean score, or last value where none reaches the target."""
    won: Counter[str] = Counter()
    for _, members in units[~units["replica"]].groupby("setting"):
        by_method = members.groupby("method")
        values = by_method["score"].mean().round(DIGITS) if members["reached"].any() else by_method["final"].median()
        won.update(str(method) for method in values.index[values == values.min()] if np.isfinite(values[method]))
    return won


def profile(units: pd.DataFrame, factors: np.ndarray) -> pd.DataFrame:
    """The share of (setting, seed) that each method solves within a factor of the fewest cost any method needed there.

    Args:
        factors: (F), >= 1.

    Returns: a row per factor, a column per method, over the instances that it ran on; those that no method solves count
        as unsolved.
    """
    fresh = units[~units.groupby(PAIR)["replica"].transform("all")]
    costs = fresh.assign(cost=fresh["cost"].where(fresh["reached"], np.inf)).set_index([*PAIR, "method"])["cost"]
    table = costs.unstack("method")
    best = table.min(axis=1)
    ratio = table.div(best, axis=0).mask(table.eq(best, axis=0) & np.isfinite(table), 1.0)
    solved = {method: ratio[method][table[method].notna()].to_numpy()[:, None] <= factors for method in table}
    return pd.DataFrame({method: shares.mean(0) for method, shares in solved.items()},
                        index=pd.Index(factors, name="factor"))  # fmt: skip


def evidence(units: pd.DataFrame) -> dict[str, int]:
    """What a test can show at most, per group: the pairs that are needed before Holm's correction allows p < 0.05."""
    needed = {}
    for group, members in units.groupby("group", sort=True):
        methods = members["method"].nunique()
        comparisons = methods * (methods - 1) // 2
        needed[str(group)] = int(np.ceil(np.log2(2 * max(comparisons, 1) / 0.05)))
    return needed

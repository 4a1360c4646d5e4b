"""Which of two methods is better, by how much, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from nlhf.analysis.ranks import Group, group_of
from nlhf.analysis.summary import interval_columns
from nlhf.stats import bootstrap
from nlhf.stats.medians import median_interval
from nlhf.stats.proportions import wilson
from nlhf.stats.significance import holm

COLUMNS = ("group", "first", "second", "quantity", "seeds", "settings", "rank_difference", "ratio", "ratio_low",
           "ratio_high", "better", "better_low", "better_high", "p", "p_holm", "p_study")  # fmt: skip


def compare(observations: pd.DataFrame) -> pd.DataFrame:
    """A row per (group, pair of methods), paired by setting and seed.

    Methods are compared on the blocks (setting, seed) that all ranked methods of the group have (see `group_of`). The
    independent unit is the seed: everything is first averaged over the settings of a seed.

    Columns: `group, first, second`; `quantity`, `cost`, or `final` if neither method ever reaches the target; `seeds`,
    the number of different seeds; `settings`; `rank_difference`, the mean rank of the first minus that of the second,
    which `p` tests; `ratio`, 10^(median over seeds of the median over settings of the difference of log10 costs, or of
    log10 values at the horizon), with `ratio_low`, `ratio_high`: 0 and inf where only one method reaches the target;
    blocks in which neither does have no ratio of costs; `better`, the share of blocks in which the first ranks before
    the second, ties one half, with `better_low`, `better_high`; `p`, the two-sided p-value of the sign-flip test of the
    mean ranks per seed, nan below five seeds; `p_holm`, corrected for all pairs of the group; `p_study`, corrected for
    all pairs of all groups.
    """
    rows = []
    for name, members in observations.groupby("group", sort=True):
        group = group_of(members)
        compared = [_pair(group, first, second) for first, second in combinations(group.methods, 2)]
        corrected = holm([float(row["p"]) for row in compared])
        rows += [{"group": name, **row, "p_holm": p} for row, p in zip(compared, corrected, strict=True)]
    of_study = holm([float(row["p"]) for row in rows])
    rows = [{**row, "p_study": p} for row, p in zip(rows, of_study, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _pair(group: Group, first: str, second: str) -> dict[str, Any]:
    sides = [group.methods.index(name) for name in (first, second)]
    hit, score, value, before, after, horizon, smallest = (
        group.columns[name][:, sides]
        for name in ("hit", "score", "value", "cost_before", "cost_after", "horizon", "smallest")
    )
    hit = hit.astype(bool)
    if hit.any():
        low, high = (
            np.log10(np.maximum(np.minimum(cost.astype(float), horizon), smallest)) for cost in (before, after)
        )
        ends = [(low[:, 0], high[:, 1]), (score[:, 0], score[:, 1]), (high[:, 0], low[:, 1])]
        ratio = _ratio([_median_by_seed(group, _cost_difference(a, b, hit)) for a, b in ends])
    else:
        ratio = _ratio([_median_by_seed(group, _value_difference(value))] * 3)
    a, b = group.columns["order"][:, sides].T
    wins = group.by_seed((a < b) + 0.5 * (a == b))
    return {
        "first": first,
        "second": second,
        "quantity": "cost" if hit.any() else "final",
        "seeds": len(wins),
        "settings": group.settings,
        "rank_difference": float((group.ranks[first] - group.ranks[second]).mean()),
        **ratio,
        "better": float(wins.mean()),
        **interval_columns("better", wilson(float(wins.sum()), len(wins))),
        "p": group.p_value(first, second),
    }


def _ratio(differences: Sequence[np.ndarray]) -> dict[str, float]:
    """The median ratio and its interval, from differences of logarithms by seed: lower ends, values, upper ends."""
    lower, middle, upper = differences
    low, high = median_interval(lower)[0], median_interval(upper)[1]
    if len(middle) == 1 and lower[0] < upper[0]:  # one observation: the rows around the target
        low, high = float(lower[0]), float(upper[0])
    value = float(bootstrap.median(middle)) if len(middle) else np.nan
    ends = {"ratio": value, "ratio_low": low, "ratio_high": high}
    with np.errstate(over="ignore"):
        return {name: float(np.power(10.0, end)) for name, end in ends.items()}


def _median_by_seed(group: Group, difference: np.ndarray) -> np.ndarray:
    """The median over settings of the differences of each seed that has one; infinite differences are allowed."""
    if group.settings == 1:
        return np.asarray(difference[~np.isnan(difference)])
    of_seeds = (values[~np.isnan(values)] for values in np.split(difference, group.starts[1:]))
    return np.array([float(bootstrap.median(values)) for values in of_seeds if len(values)])


def _cost_difference(a: np.ndarray, b: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """a - b of log10 costs (B); +-inf if only one side hits (B, 2) the target, nan if neither does."""
    return np.asarray(np.select([hit.all(1), hit[:, 0], hit[:, 1]], [a - b, -np.inf, np.inf], np.nan))


def _value_difference(value: np.ndarray) -> np.ndarray:
    """The difference of log10 values (B, 2); two infinite values are equal."""
    a, b = value.T
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(a == b, 0.0, a - b))


@dataclass(frozen=True)
class Against:
    """One method against another.

    Args:
        ratio, ratio_low, ratio_high: how many times the cost or value of the other it needs.
        p, p_study: Holm's p-value within the group, and over all groups.
        seeds: the number of different seeds.
    """

    ratio: float = np.nan
    ratio_low: float = np.nan
    ratio_high: float = np.nan
    p: float = np.nan
    p_study: float = np.nan
    seeds: int = 0


def against(comparisons: pd.DataFrame, group: str, method: str, opponent: str) -> Against:
    """The comparison of a method with another one of its group, in this order; nan without a comparison."""
    of_group = comparisons[comparisons["group"] == group]
    pair = of_group[of_group[["first", "second"]].isin([method, opponent]).all(axis=1)]
    if pair.empty or method == opponent:
        return Against()
    row = pair.iloc[0]
    ratio = [row["ratio"], row["ratio_low"], row["ratio_high"]]
    if row["first"] != method:
        ratio = [inverse(ratio[0]), inverse(ratio[2]), inverse(ratio[1])]
    value, low, high = ratio
    return Against(value, low, high, row["p_holm"], row["p_study"], row["seeds"])


def inverse(ratio: float) -> float:
    """1/ratio, with 1/0 = inf."""
    return float("inf") if ratio == 0 else 1 / ratio

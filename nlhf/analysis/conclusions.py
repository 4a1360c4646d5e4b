"""The headline of a study: who wins where, by how much, and whether chance explains the difference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from nlhf.analysis.comparison import Against, against
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.ranks import ALPHA
from nlhf.analysis.wording import (
    bounded,
    chance_phrase,
    distinct,
    interval_phrase,
    listed,
    median_phrase,
    needs_phrase,
    spread_over,
    times,
)
from nlhf.stats.text import number

if TYPE_CHECKING:
    from nlhf.analysis.results import Results


def headline(results: Results) -> str:
    """A few sentences that say who wins where."""
    judged = results.judged
    groups = {str(group): rows for group, rows in judged.summary.groupby("group", sort=True)}
    start = ""
    if judged is not results:
        start = (
            "Each algorithm chose its configuration on one third of the seeds and is judged on the others, as follows. "
        )
    if len(groups) == 1:
        return start + _of_group(*next(iter(groups.items())), judged.comparisons, results.criterion)
    short = distinct(list(groups))
    groups = {short[group]: rows for group, rows in groups.items()}
    sentences = [_over_all(judged.overall), _by_group(groups, judged.comparisons, results.criterion)]
    return start + " ".join(filter(None, sentences))


def _over_all(table: pd.DataFrame) -> str:
    """Who has the lowest mean rank over all settings; empty with fewer than two ranked methods."""
    ranked = table[table["rank"].notna()]
    if len(ranked) < 2 or not ranked["best"].any():
        return ""
    best, names = ranked.iloc[0], [str(name) for name in ranked.loc[ranked["best"], "method"]]
    behind = ranked[~ranked["best"]]
    verb = "has" if len(names) == 1 else "have"
    start = f"Over all {best['settings']} settings {listed(names)} {verb} the lowest mean rank, {best['mean_rank']:.2f}"
    if behind.empty:
        return f"{start}."
    second = behind.iloc[0]
    ratio = Against(second["ratio"], second["ratio_low"], second["ratio_high"], seeds=int(second["seeds"]))
    factor = "" if math.isnan(ratio.ratio) or math.isinf(ratio.ratio) else f" and {needs_phrase(ratio)}"
    return f"{start}; the next, {second['method']}, has {second['mean_rank']:.2f}{factor}{chance_phrase(second['p'])}."


def _by_group(groups: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame, criterion: Criterion) -> str:
    """Who wins how many of several groups."""
    winners = {group: _winners(table) for group, table in groups.items()}
    solved = {group: names for group, names in winners.items() if groups[group]["hit"].max() > 0}
    unsolved = [group for group in groups if group not in solved]
    parts = []
    if solved:
        won = "; ".join(_wins(solved, groups, comparisons))
        ties = ", ties counted for each" if sum(map(len, solved.values())) > len(solved) else ""
        parts.append(f"The {criterion.fewest} to {criterion.goal}: {won}{ties}")
    if unsolved:
        lowest = Counter(name for group in unsolved for name in winners[group]).most_common(3)
        names = [f"{name} ({count})" if len(unsolved) > 1 else name for name, count in lowest]
        final = f"lowest value: {listed(names)}" if names else "no run completed"
        where = f"no method reaches it on {spread_over(unsolved, len(groups))}"
        parts.append(f"{where if solved else f'No method reaches {criterion.goal}'} ({final})")
    return "; ".join(parts) + "."


def _wins(solved: dict[str, list[str]], groups: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame) -> list[str]:
    """For each of the most frequent winners the groups it wins."""
    counts = Counter(name for names in solved.values() for name in names)
    leading = [name for name, _ in counts.most_common(4)]
    parts = []
    for name in leading:
        won = [group for group, names in solved.items() if name in names]
        alone = [group for group in won if solved[group] == [name]]
        parts.append(f"{name} on {spread_over(won, len(groups))}{_significant(alone, groups, comparisons)}")
    if further := sorted(set(counts) - set(leading)):
        parts.append(f"{listed(further)} on the rest")
    return parts


def _significant(won: list[str], groups: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame) -> str:
    """On how many of the groups that a method wins alone it is significantly better than the next one."""
    p_values = []
    for group in won:
        table = groups[group]
        ranked = table[table["rank"].notna()]
        if len(ranked) > 1:
            first, second = (str(name) for name in ranked["method"].iloc[:2])
            p_values.append(against(comparisons, str(table["group"].iloc[0]), second, first).p_study)
    tested = [p for p in p_values if not math.isnan(p)]
    if not tested:
        return ""
    count = sum(p < ALPHA for p in tested)
    return f" (significantly better than the next on {count}, corrected over all settings)"


def _winners(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.loc[table["best"], "method"]]


def _of_group(group: str, table: pd.DataFrame, comparisons: pd.DataFrame, criterion: Criterion) -> str:
    ranked = table[table["rank"].notna()]
    if ranked.empty:
        reasons = "; ".join(f"{row['method']}: {row['unranked']}" for row in table.to_dict("records"))
        return f"No method has a rank on {group} ({reasons})."
    names = _winners(ranked)
    if not names:
        return f"No run on {group} completed, so no method can be called best."
    best, behind = ranked.iloc[0], ranked[~ranked["best"]]
    second = None if behind.empty else behind.iloc[0]
    pair = Against() if second is None else against(comparisons, group, str(second["method"]), str(best["method"]))
    if not ranked["hit"].max():
        return _unsolved(group, names, best, second, pair, criterion)
    return _solved(group, names, best, second, pair, criterion)


def _unsolved(
    group: str, names: list[str], best: pd.Series, second: pd.Series | None, pair: Against, criterion: Criterion
) -> str:
    """The sentence where no method reaches the target."""
    spent = max(best["spent"], 0 if second is None else second["spent"])
    within = f" within {number(best['horizon'])}" if best["horizon"] < spent or criterion.horizon else ""
    start = f"On {group} no method reaches {criterion.goal}{within}"
    lowest = f"the lowest value: {listed(names)} (median {number(10 ** best['value'])})"
    if second is None:
        return f"{start}; {lowest}."
    following = f"the next: {second['method']} ({number(10 ** second['value'])}"
    if math.isfinite(pair.ratio):
        following += f", {times(pair.ratio)} as high, {median_phrase(pair)}"
    return f"{start}; {lowest}; {following}){chance_phrase(pair.p)}."


def _solved(
    group: str, names: list[str], best: pd.Series, second: pd.Series | None, pair: Against, criterion: Criterion
) -> str:
    """The sentence where a method reaches the target."""
    seeds = _observed(best)
    seeds += f", {best['hit']:.0%} of which reach it" if best["hit"] < 1 else ""
    median = f"{bounded(best['cost'], best['spent'])} ({seeds}{_between(best)})"
    needs = f"{listed(names)} {'needs' if len(names) == 1 else 'need'} the {criterion.fewest} to {criterion.goal}"
    if second is None:
        return f"{needs} on {group}: {median}."
    disagree = second["cost"] < best["cost"]
    if disagree:
        needs = (
            f"{listed(names)} {'ranks' if len(names) == 1 else 'rank'} first in {criterion.cost} to {criterion.goal}"
        )
        median += f", although {second['method']} has the lower median, {bounded(second['cost'], second['spent'])}"
    sentence = (
        f"{needs} on {group}: {median}; the next, {second['method']}, {_behind(second, pair)}{chance_phrase(pair.p)}."
    )
    if best["misses"] > second["misses"]:
        sentence += (
            f" {best['method']} is faster on most seeds, but misses the target on {best['misses']} of "
            f"{best['seeds'] * best['settings']}."
        )
    return sentence


def _observed(row: pd.Series) -> str:
    """`median of 20 seeds`, also `of 8 seeds x 5 settings`."""
    if row["seeds"] * row["settings"] == 1:
        return "one observation"
    several = f" x {row['settings']} settings" if row["settings"] > 1 else ""
    return f"median of {row['seeds']} seed{'s' if row['seeds'] > 1 else ''}{several}"


def _behind(second: pd.Series, pair: Against) -> str:
    """How far the next method is behind."""
    if not second["hit"]:
        return "does not reach it"
    if math.isnan(pair.ratio):
        return "has a higher mean rank"
    if math.isinf(pair.ratio):
        return "misses it on most seeds"
    return needs_phrase(pair)


def _between(row: pd.Series) -> str:
    return interval_phrase(row["cost_low"], row["cost_high"], row["seeds"])

"""The headline of a study: who wins where, by how much, and whether the difference may be chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.stats.text import number, shown_p

ALPHA = 0.05
MARK = " †"  # follows the name of a method with a caveat


def listed(names: Sequence[str]) -> str:
    """The names as `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def notes(caveats: Mapping[str, str], methods: Iterable[Any]) -> list[str]:
    """A line per caveat of the methods shown; three or more methods go by their algorithms' names."""
    of_text: dict[str, list[str]] = {}
    for name in sorted(set(methods) & set(caveats)):
        of_text.setdefault(caveats[name], []).append(name)
    lines = []
    for text, names in of_text.items():
        algorithms = list(dict.fromkeys(name.partition(", ")[0] for name in names))
        lines.append(f"† {listed(names if len(names) <= 2 else algorithms)}: {text}.")
    return lines


def distinct(groups: Sequence[str]) -> dict[str, str]:
    """Names of groups without the parts that all of them share.

    `a, beta = 1` and `b, beta = 1` become `a` and `b`. If two short names would be the same, all groups keep their
    full names.
    """
    parts = {group: group.split(", ") for group in groups}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    short = {group: ", ".join(part for part in names if part not in shared) or group for group, names in parts.items()}
    return short if len(set(short.values())) == len(short) else {group: group for group in groups}


def headline(summary: pd.DataFrame, comparisons: pd.DataFrame, criterion: Criterion) -> str:
    """One sentence that says who wins where."""
    groups = {str(group): rows for group, rows in summary.groupby("group", sort=True)}
    if len(groups) == 1:
        return _of_group(*next(iter(groups.items())), comparisons, criterion)
    short = distinct(list(groups))
    groups = {short[group]: rows for group, rows in groups.items()}
    winners = {group: _winners(table) for group, table in groups.items()}
    solved = {group: names for group, names in winners.items() if groups[group]["reached"].max() > 0}
    unsolved = [group for group in groups if group not in solved]
    parts = []
    if solved:
        won = "; ".join(_wins(solved, groups, comparisons))
        ties = ", ties counted for each" if sum(map(len, solved.values())) > len(solved) else ""
        parts.append(f"The {criterion.fewest} to {criterion.goal}: {won}{ties}")
    if unsolved:
        lowest = Counter(name for group in unsolved for name in winners[group]).most_common(3)
        names = [f"{name} ({count})" if len(unsolved) > 1 else name for name, count in lowest]
        final = f"lowest final value: {listed(names)}" if names else "no run completed"
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


def spread_over(groups: list[str], total: int) -> str:
    """The names of a few groups, or how many of all groups they are."""
    if len(groups) == total > 1:
        return f"all {total}"
    if total == 1 or (len(groups) <= 2 and total > 2):
        return listed(groups)
    return f"{len(groups)} of {total}"


def _winners(table: pd.DataFrame) -> list[str]:
    """The methods of a group with the lowest score.

    If none reaches the target, those with the lowest final value; empty if no run completed.
    """
    column = "score" if table["reached"].max() > 0 else "final"
    if not math.isfinite(table[column].min()):
        return []
    return [str(name) for name in table.loc[table[column] == table[column].min(), "method"]]


def _of_group(group: str, table: pd.DataFrame, comparisons: pd.DataFrame, criterion: Criterion) -> str:
    table = table.sort_values("rank")
    best, names = table.iloc[0], _winners(table)
    if not names:
        return f"No run on {group} completed, so no method can be called best."
    if not table["reached"].max():
        lowest = f"{listed(names)} (median {number(10 ** best['final'])})"
        return f"On {group} no method reaches {criterion.goal}; the lowest final value: {lowest}."
    seeds = f"median of {best['seeds']} observations" if best["seeds"] > 1 else "one observation"
    seeds += f", {best['reached']:.0%} of which reach it" if best["reached"] < 1 else ""
    needs = f"{listed(names)} {'needs' if len(names) == 1 else 'need'} the {criterion.fewest} to {criterion.goal}"
    start = f"{needs} on {group}: {bounded(best['cost'], best['spent'])} ({seeds}{_between(best)})"
    behind = table[~table["method"].isin(names)]
    if behind.empty:
        return f"{start}."
    second = behind.iloc[0]
    factor = "does not reach it"
    if second["reached"]:
        bound = "at least " if second["reached"] < 1 else ""
        factor = f"needs {bound}{times(10 ** (second['score'] - best['score']))} as much on average"
    chance = _chance(str(best["method"]), str(second["method"]), comparisons)
    return f"{start}; the next, {second['method']}, {factor}{chance}."


def _between(row: pd.Series) -> str:
    if math.isnan(row["cost_low"]) or row["cost_low"] == row["cost_high"]:
        return ""
    return f", 95% interval {number(row['cost_low'])} to {number(row['cost_high'])}"


def _chance(first: str, second: str, comparisons: pd.DataFrame) -> str:
    p = corrected_p(first, second, comparisons)
    if math.isnan(p):
        return ""
    return f"{'' if p < ALPHA else '; the difference is not significant'} ({shown_p(p)}, Holm)"


def times(ratio: float) -> str:
    """A factor as `1.02 times`, `4.7 times`, `120 times`."""
    return f"{ratio:.2f} times" if ratio < 2 else f"{number(ratio, 2)} times"


def _significant(won: list[str], groups: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame) -> str:
    """On how many of the groups that a method wins alone it is significantly better than the next one."""
    p_values = []
    for group in won:
        ranked = groups[group].sort_values("rank")
        if len(ranked) > 1:
            of_group = comparisons[comparisons["group"] == ranked["group"].iloc[0]]
            p_values.append(corrected_p(ranked["method"].iloc[0], ranked["method"].iloc[1], of_group))
    tested = [p for p in p_values if not math.isnan(p)]
    return f" (significantly better than the next on {sum(p < ALPHA for p in tested)})" if tested else ""


def bounded(cost: float, spent: float) -> str:
    """A median cost, or `> budget` if half of the observations ended without reaching the target."""
    return f"> {number(spent)}" if math.isinf(cost) else number(cost)


def corrected_p(first: str, second: str, comparisons: pd.DataFrame) -> float:
    """Holm's p-value of two methods, in either order, in the comparisons of one group; else nan."""
    pair = comparisons[comparisons[["first", "second"]].isin([first, second]).all(axis=1)]
    return float("nan") if pair.empty else float(pair.iloc[0]["p_holm"])

"""What the numbers say, in sentences: who wins where, by how much, and what cannot be concluded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from nlhf.analysis.criterion import View
from nlhf.stats.bootstrap import FEWEST
from nlhf.stats.comparison import evidence
from nlhf.stats.text import number, shown_p

ALPHA = 0.05
MOST_DAMAGE = 5  # sentences about damaged files
MARK = " †"  # of a method with a caveat


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def notes(caveats: Mapping[str, str], shown: Iterable[Any]) -> list[str]:
    """A line per caveat of the methods that are shown; many configurations of one algorithm go by its name."""
    of_text: dict[str, list[str]] = {}
    for name in sorted(set(shown) & set(caveats)):
        of_text.setdefault(caveats[name], []).append(name)
    found = []
    for text, names in of_text.items():
        algorithms = list(dict.fromkeys(name.partition(", ")[0] for name in names))
        found.append(f"† {listed(names if len(names) <= 2 else algorithms)}: {text}.")
    return found


def distinct(groups: Sequence[str]) -> dict[str, str]:
    """Names of groups without the parts that all of them share: `a, beta = 1` and `b, beta = 1` become `a` and `b`.

    Groups whose short names would be the same keep their full ones.
    """
    parts = {group: group.split(", ") for group in groups}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    short = {group: ", ".join(part for part in words if part not in shared) or group for group, words in parts.items()}
    return short if len(set(short.values())) == len(short) else {group: group for group in groups}


def headline(summary: pd.DataFrame, comparisons: pd.DataFrame, view: View) -> str:
    """One sentence that says who wins where."""
    groups = {str(group): rows for group, rows in summary.groupby("group", sort=True)}
    if len(groups) == 1:
        return _of_group(*next(iter(groups.items())), comparisons, view)
    short = distinct(list(groups))
    groups = {short[group]: rows for group, rows in groups.items()}
    winners = {group: _winners(table) for group, table in groups.items()}
    solved = {group: names for group, names in winners.items() if groups[group]["reached"].max() > 0}
    rest = [group for group in groups if group not in solved]
    goal = f"{view.title} {number(view.target)}"
    parts = []
    if solved:
        counts = Counter(name for names in solved.values() for name in names)
        leading = [name for name, _ in counts.most_common(4)]
        told = [f"{name} on {_where([g for g, names in solved.items() if name in names], len(groups))}"
                f"{_sure([g for g, names in solved.items() if names == [name]], groups, comparisons)}"
                for name in leading]  # fmt: skip
        if others := sorted(set(counts) - set(leading)):
            told.append(f"{listed(others)} on the rest")
        ties = ", ties counted for each" if sum(counts.values()) > len(solved) else ""
        parts.append(f"The {view.fewest} to {goal}: {'; '.join(told)}{ties}")
    if rest:
        lowest = Counter(name for group in rest for name in winners[group])
        told = [f"{name} ({count})" if len(rest) > 1 else name for name, count in lowest.most_common(3)]
        last = f"the lowest last value is that of {listed(told)}" if told else "no run has ended well"
        parts.append(f"no method reaches it on {_where(rest, len(groups))}, where {last}" if solved else
                     f"No method reaches {goal}; {last}")  # fmt: skip
    return "; ".join(parts) + "."


def _where(groups: list[str], of: int) -> str:
    if len(groups) == of > 1:
        return f"all {of}"
    if of == 1 or (len(groups) <= 2 and of > 2):
        return listed(groups)
    return f"{len(groups)} of {of}"


def _winners(table: pd.DataFrame) -> list[str]:
    """The methods of a group with the lowest score; where none reaches the target, the lowest last value; none where no
    run has ended well."""
    column = "score" if table["reached"].max() > 0 else "final"
    if not math.isfinite(table[column].min()):
        return []
    return [str(name) for name in table.loc[table[column] == table[column].min(), "method"]]


def _of_group(group: str, table: pd.DataFrame, comparisons: pd.DataFrame, view: View) -> str:
    table = table.sort_values("rank")
    best, names = table.iloc[0], _winners(table)
    if not names:
        return f"No run on {group} has ended well, so that no method can be called best."
    if not table["reached"].max():
        return (f"On {group} no method reaches {view.title} {number(view.target)}; the lowest last value is that of "
                f"{listed(names)} (median {number(10 ** best['final'])}).")  # fmt: skip
    of_seeds = f"median of {best['seeds']} observations" if best["seeds"] > 1 else "one observation"
    of_seeds += f", {best['reached']:.0%} of which reach it" if best["reached"] < 1 else ""
    needs = "needs" if len(names) == 1 else "need"
    start = (f"{listed(names)} {needs} the {view.fewest} to {view.title} {number(view.target)} on {group}: "
             f"{bounded(best['cost'], best['spent'])} ({of_seeds}{_between(best)})")  # fmt: skip
    others = table[~table["method"].isin(names)]
    if others.empty:
        return f"{start}."
    second = others.iloc[0]
    more = "does not reach it"
    if second["reached"]:
        least = "at least " if second["reached"] < 1 else ""
        more = f"needs {least}{times(10 ** (second['score'] - best['score']))} as much on average"
    luck = _luck(str(best["method"]), str(second["method"]), comparisons)
    return f"{start}; the next, {second['method']}, {more}{luck}."


def _between(row: pd.Series) -> str:
    if math.isnan(row["cost_low"]) or row["cost_low"] == row["cost_high"]:
        return ""
    return f", 95% interval {number(row['cost_low'])} to {number(row['cost_high'])}"


def _luck(first: str, second: str, comparisons: pd.DataFrame) -> str:
    p = corrected_p(first, second, comparisons)
    if math.isnan(p):
        return ""
    told = "" if p < ALPHA else "; the two are not told apart"
    return f"{told} ({shown_p(p)}, Holm)"


def times(ratio: float) -> str:
    """1.02 times, 4.7 times, 120 times."""
    return f"{ratio:.2f} times" if ratio < 2 else f"{number(ratio, 2)} times"


def _sure(won: list[str], groups: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame) -> str:
    """On how many of the groups that it has won alone a method is told apart from the next, where there are tests."""
    found = []
    for group in won:
        ranked = groups[group].sort_values("rank")
        if len(ranked) > 1:
            of_group = comparisons[comparisons["group"] == ranked["group"].iloc[0]]
            found.append(corrected_p(ranked["method"].iloc[0], ranked["method"].iloc[1], of_group))
    known = [p for p in found if not math.isnan(p)]
    return f" (told apart from the next on {sum(p < ALPHA for p in known)})" if known else ""


def bounded(cost: float, spent: float) -> str:
    """A median cost; where half of the observations ended without, more than the largest budget."""
    return f"> {number(spent)}" if math.isinf(cost) else number(cost)


def corrected_p(first: str, second: str, comparisons: pd.DataFrame) -> float:
    """Holm's p of two methods in the comparisons of one group, in either order; nan where they were not compared."""
    pair = comparisons[comparisons[["first", "second"]].isin([first, second]).all(axis=1)]
    return float("nan") if pair.empty else float(pair.iloc[0]["p_holm"])


def cautions(units: pd.DataFrame, summary: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know before believing the table: what is damaged or did not end, and what it cannot show."""
    return [*_damage(runs), *_ends(runs), *_mixed(runs), *_few(units, summary), *_tuning(summary)]


def _damage(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Files that are damaged, and files whose damage could not be seen."""
    sentences = [sentence for run in runs for sentence in run["damage"]]
    yield from sentences[:MOST_DAMAGE]
    if len(sentences) > MOST_DAMAGE:
        yield f"More files are damaged: {len(sentences)} in all."
    if lost := sum(run["status"] == "damaged" for run in runs):
        yield f"Left out because of damaged files: {_count(lost, 'run')}."
    if unchecked := sum(not run["checked"] for run in runs):
        yield (
            f"Completed before files had checksums: {_count(unchecked, 'run')}. Damage to these files would go "
            "unnoticed; repeat the commands with force=true to be sure."
        )


def _ends(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    states = Counter(str(run["status"]) for run in runs)
    if failed := states["failed"]:
        yield f"{_count(failed, 'run')} failed: their last value is infinitely bad, a target reached before counts."
    if going := states["interrupted"] + states["unfinished"]:
        yield (
            f"{_count(going, 'run')} did not end: censored at the last row, and left out of last values and areas; "
            "repeat the command to go on."
        )
    if empty := [run for run in runs if not run["rows"] and run["status"] != "damaged"]:
        yield f"{_count(len(empty), 'run')} left no rows: {empty[0]['folder']}."


def unmeasured(count: int, view: View) -> list[str]:
    """Seeds of which the metric is not known."""
    return [f"{_count(count, 'seed')} never measured the {view.title}: left out."] if count else []


def _mixed(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Runs of several versions of nlhf, which need not agree."""
    for key, what in (("results_version", "RESULTS_VERSION"), ("commit", "commit")):
        values = {str(run["summary"][key]) for run in runs if run["summary"].get(key) is not None}
        if len(values) > 1:
            yield f"Runs were made with {len(values)} values of {what}: see the versions, and run the older ones again."
    if any(str(run["summary"].get("commit")).endswith("-dirty") for run in runs):
        yield "Some runs were made with uncommitted changes (...-dirty): the commit alone does not make them again."


def _few(units: pd.DataFrame, summary: pd.DataFrame) -> Iterator[str]:
    """What the number of observations does not allow."""
    if replicas := int(units["replica"].sum()):
        yield f"Not counted, as they repeat another one to the bit: {replicas} of {len(units)} observations."
    least = int(summary["seeds"].min())
    if (summary["seeds"] == 1).all():
        yield (
            "Every method has one observation a setting, so that no interval or test is possible: numbers are exact "
            "for these very games, and say nothing of other seeds, games or votes."
        )
    elif least < FEWEST:
        yield f"Some methods have only {_count(least, 'observation')}: intervals and tests need {FEWEST} or more."
    else:
        needed, had = evidence(units), summary.groupby("group")["seeds"].min()
        short = distinct(list(needed))
        if poor := [group for group, wanted in needed.items() if wanted > had[group]]:
            most = max(needed[group] for group in poor)
            where = _where([short[group] for group in poor], len(needed))
            yield (
                f"On {where} no test can reach p < {ALPHA} after Holm's correction: that takes {most} seeds or more, "
                "or fewer methods."
            )


def _tuning(summary: pd.DataFrame) -> Iterator[str]:
    """Who had more chances than others."""
    tried = summary.groupby("algorithm")["tried"].max()
    if tried.nunique() > 1:
        budgets = ", ".join(f"{name} {count}" for name, count in tried.items())
        yield f"Tuning budgets differ: {budgets} configurations; the best of many looks better than it is."
    elif tried.max() > 1:
        yield (
            f"Every algorithm had {tried.max()} configurations, tried on these same seeds: the best of them, which "
            "are compared, look better than they are."
        )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""The ranked table of a study in the terminal, 100 columns wide, with a legend of its columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from nlhf.analysis.comparison import against
from nlhf.analysis.results import Results
from nlhf.analysis.wording import MARK, bounded, notes
from nlhf.stats.text import number
from nlhf.terminal import visible

WIDTH = 100
MOST_GROUPS = 12
SHORT = {"queries": "queries", "iteration": "iterations", "seconds": "seconds"}
UNITS = {"queries": "query", "iteration": "iteration", "seconds": "second"}


def show(results: Results, console: Console) -> None:
    """Print a table per group, the best method first, and one over all groups if there are several."""
    judged = results.judged
    _show_groups(results, console)
    if judged is not results:
        console.print("", "Configurations chosen on one third of the seeds, judged on the others:", sep="\n")
        _show_groups(judged, console)
    several = judged.summary["group"].nunique() > 1 and len(judged.overall) > 0
    if several:
        console.print("", _overall(judged), sep="\n")
    for line in (*_legend(results, several), *notes(results.caveats, results.summary["method"])):
        console.print(line, style="dim")


def _show_groups(results: Results, console: Console) -> None:
    groups = list(results.summary.groupby("group", sort=True))
    for group, rows in groups[:MOST_GROUPS]:
        console.print("", _table(str(group), rows, results), sep="\n")
    if len(groups) > MOST_GROUPS:
        hidden = len(groups) - MOST_GROUPS
        console.print("", f"{hidden} more groups: see report.html, or choose columns with --by.", sep="\n")


def _legend(results: Results, several: bool) -> list[str]:
    """What the short titles of the columns mean."""
    title, unit = results.criterion.title, UNITS[results.criterion.x]
    lines = [
        "Methods are ordered by their mean rank over seeds; brackets after a rank: the ranks that the seeds allow, for "
        f"all methods at once with 95%. log10 final: of the final {title}, median. rate: decrease of ln {title} per "
        f"{unit}; bound: the rate that a theorem promises. times best: median ratio to the method ranked first, with "
        "its 95% interval. p: Holm's p-value of the same mean rank as that method."
    ]
    if several:
        lines.append(
            "mean rank: over settings and seeds; seeds are the independent observations, as settings share them."
        )
    return lines


def _titled(title: str, names: list[str], methods: pd.Series) -> Table:
    """An empty table with a rank, a method column as wide as the longest name (at most 24), and numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("", justify="left", no_wrap=True)
    widest = max(map(cell_len, map(visible, methods)))
    table.add_column("method", overflow="fold", min_width=min(widest + len(MARK), 24))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    return table


def _table(group: str, rows: pd.DataFrame, results: Results) -> Table:
    criterion, compared = results.criterion, results.judged is results and len(rows) > 1
    same_seeds = rows["seeds"].nunique() == 1
    title = f"{group} ({_seeds(rows.iloc[0].to_dict())})" if same_seeds else group
    cost = f"{SHORT[criterion.x]} to {number(criterion.target)}"
    titles = [cost, "log10 final", "rate", "bound", *(["times best", "p"] if compared else [])]
    table = _titled(title, titles, rows["method"])
    first = str(rows["method"].iloc[0])
    for row in rows.to_dict("records"):
        remarks = [] if same_seeds else [_seeds(row)]
        remarks += [f"{row[state]} {state}" for state in ("failed", "unfinished") if row[state]]
        reached = f" ({row['reached']:.0%})" if 0 < row["reached"] < 1 else ""
        cells = [
            _rank(row),
            ", ".join([_name(row["method"], results), *remarks]),
            cost_of(row) + reached,
            tenths(row["final"], math.nan, math.nan),
            number(row["rate"], 2),
            number(row["bound_rate"], 2),
        ]
        if compared:
            pair = against(results.comparisons, group, str(row["method"]), first)
            cells += [ratio_of(pair.ratio, pair.ratio_low, pair.ratio_high), _short_p(pair.p)]
        table.add_row(*cells)
    return table


def _rank(row: Mapping[Any, Any]) -> str:
    """The rank, with the ranks that the seeds allow if there are several: `1`, `2 [1, 3]`; `-` without a rank."""
    if math.isnan(row["rank"]):
        return "-"
    ends = (f"{row['rank_low']:.0f}", f"{row['rank_high']:.0f}")
    return f"{row['rank']:.0f}" if ends[0] == ends[1] else f"{row['rank']:.0f} [{', '.join(ends)}]"


def ratio_of(value: float, low: float, high: float) -> str:
    """A ratio with its interval; infinite if only the method ranked first reaches the target."""
    return spread_of(number(value, 2), number(low, 2), number(high, 2))


def _name(method: str, results: Results) -> str:
    return f"{method}{MARK if method in results.caveats else ''}"


def _seeds(row: Mapping[Any, Any]) -> str:
    """`20 seeds`, or `8 seeds x 5 settings`."""
    seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    return f"{seeds} x {row['settings']} settings" if row["settings"] > 1 else seeds


def _overall(results: Results) -> Table:
    rows = results.overall
    columns = ["settings won", "reached target", "mean rank", "log10 curve", "times best", "p"]
    first = rows.iloc[0]
    table = _titled(f"over all {first['settings']} settings ({first['seeds']} seeds)", columns, rows["method"])
    for row in rows.to_dict("records"):
        table.add_row(
            _rank(row),
            _name(row["method"], results),
            f"{row['wins']}",
            f"{row['hit']:.0%}",
            number(row["mean_rank"]),
            tenths(row["area"], math.nan, math.nan),
            ratio_of(row["ratio"], row["ratio_low"], row["ratio_high"]),
            _short_p(row["p"]),
        )
    return table


def _short_p(p: float) -> str:
    """A p-value in six characters."""
    return "-" if math.isnan(p) else "<0.001" if p < 1e-3 else f"{p:.2g}"


def cost_of(row: Mapping[Any, Any]) -> str:
    """The median cost of a row with its interval; `> 5,000` if half or more miss the target."""
    middle, low, high = bounded(row["cost"], row["spent"]), row["cost_low"], row["cost_high"]
    return spread_of(middle, bounded(low, row["spent"]), "-" if math.isnan(low) else bounded(high, row["spent"]))


def spread(value: float, low: float, high: float) -> str:
    """A number with its interval, `51 [43, 60]`."""
    return spread_of(number(value), number(low), number(high))


def tenths(value: float, low: float, high: float) -> str:
    """A logarithm with its interval, `-12.8 [-13.0, -12.5]`."""
    if math.isnan(value):
        return "-"
    return spread_of(*(f"{end:.1f}".replace("inf", "∞").replace("nan", "-") for end in (value, low, high)))


def spread_of(middle: str, low: str, high: str) -> str:
    """The number, followed by its interval unless that is missing or a point."""
    return middle if low in ("-", high) else f"{middle} [{low}, {high}]"

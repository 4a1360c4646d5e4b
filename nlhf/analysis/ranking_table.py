"""The ranked table of a study in the terminal, 100 columns wide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from nlhf.analysis.conclusions import MARK, bounded, corrected_p, notes
from nlhf.analysis.results import Results
from nlhf.stats.text import number
from nlhf.terminal import visible

WIDTH = 100
MOST_GROUPS = 12
SHORT = {"queries": "queries", "iteration": "iterations", "seconds": "seconds"}


def show(results: Results, console: Console) -> None:
    """A table per group, the best method first, and one over all groups where there are several."""
    groups = list(results.summary.groupby("group", sort=True))
    for group, rows in groups[:MOST_GROUPS]:
        console.print("", _table(str(group), rows, results), sep="\n")
    if len(groups) > MOST_GROUPS:
        console.print(
            "", f"{len(groups) - MOST_GROUPS} more groups: see report.html, or choose columns with --by.", sep="\n"
        )
    if len(groups) > 1 and len(results.overall):
        console.print("", _overall(results), sep="\n")
    for line in notes(results.caveats, results.summary["method"]):
        console.print(line, style="dim")


def _columns(table: Table, names: list[str], first: pd.Series) -> Table:
    """A rank, a method as wide as the longest (up to 34), and numbers."""
    table.add_column("", justify="right")
    table.add_column("method", overflow="fold", min_width=min(max(map(cell_len, map(visible, first))) + len(MARK), 24))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    return table


def _table(group: str, rows: pd.DataFrame, results: Results) -> Table:
    comparisons = results.comparisons[results.comparisons["group"] == group]
    alike, criterion = rows["seeds"].nunique() == 1, results.criterion
    seeds = f" ({_seeds(rows['seeds'].iloc[0])})" if alike else ""
    table = Table(title=f"{group}{seeds}", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    cost = f"{SHORT[criterion.x]} to {number(criterion.target)}"
    _columns(table, [cost, "log10 last", "rate", "theory", "p to 1"], rows["method"])
    first = str(rows["method"].iloc[0])
    for row in rows.to_dict("records"):
        remarks = [] if alike else [_seeds(row["seeds"])]
        remarks += [f"{row[state]} {state}" for state in ("failed", "unfinished") if row[state]]
        reached = f" ({row['reached']:.0%})" if 0 < row["reached"] < 1 else ""
        table.add_row(
            f"{row['rank']}",
            ", ".join([f"{row['method']}{MARK if row['method'] in results.caveats else ''}", *remarks]),
            cost_of(row) + reached,
            tenths(row["final"], row["final_low"], row["final_high"]),
            number(row["rate"], 2),
            number(row["bound_rate"], 2),
            _brief(corrected_p(first, row["method"], comparisons)),
        )
    return table


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _overall(results: Results) -> Table:
    rows, caveats = results.overall, results.caveats
    title, cost = f"over all {rows['settings'].iloc[0]} settings", f"{SHORT[results.criterion.x]}, misses at the budget"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    _columns(table, ["best on", "reached", cost, "log10 curve"], rows["method"])
    for place, row in enumerate(rows.to_dict("records"), 1):
        table.add_row(
            f"{place}",
            f"{row['method']}{MARK if row['method'] in caveats else ''}",
            f"{row['wins']}",
            f"{row['reached']:.0%}",
            spread(*(10 ** row[name] for name in ("score", "score_low", "score_high"))),
            tenths(row["area"], row["area_low"], row["area_high"]),
        )
    return table


def _brief(p: float) -> str:
    """A p-value in six characters."""
    return "-" if math.isnan(p) else "<0.001" if p < 1e-3 else f"{p:.2g}"


def cost_of(row: Mapping[Any, Any]) -> str:
    """The median cost of a row of `summarise` with its interval; > 5,000 where half or more missed the target."""
    middle, low, high = bounded(row["cost"], row["spent"]), row["cost_low"], row["cost_high"]
    return _with_ends(middle, bounded(low, row["spent"]), "-" if math.isnan(low) else bounded(high, row["spent"]))


def spread(value: float, low: float, high: float) -> str:
    """A number with its interval, 51 [43, 60]."""
    middle = number(value)
    return _with_ends(middle, number(low), number(high))


def tenths(value: float, low: float, high: float) -> str:
    """A logarithm with its interval, -12.8 [-13.0, -12.5]."""
    if math.isnan(value):
        return "-"
    return _with_ends(*(f"{end:.1f}".replace("inf", "∞").replace("nan", "-") for end in (value, low, high)))


def _with_ends(middle: str, low: str, high: str) -> str:
    """A text with those of its interval, where there is one that can be told from a point."""
    return middle if low in ("-", high) else f"{middle} [{low}, {high}]"

"""The ranked table of a study in the terminal, 100 columns wide, with a legend of its columns."""

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
UNITS = {"queries": "query", "iteration": "iteration", "seconds": "second"}


def show(results: Results, console: Console) -> None:
    """Print a table per group, the best method first, and one over all groups if there are several."""
    groups = list(results.summary.groupby("group", sort=True))
    for group, rows in groups[:MOST_GROUPS]:
        console.print("", _table(str(group), rows, results), sep="\n")
    if len(groups) > MOST_GROUPS:
        hidden = len(groups) - MOST_GROUPS
        console.print("", f"{hidden} more groups: see report.html, or choose columns with --by.", sep="\n")
    several = len(groups) > 1 and len(results.overall) > 0
    if several:
        console.print("", _overall(results), sep="\n")
    for line in (*_legend(results, several), *notes(results.caveats, results.summary["method"])):
        console.print(line, style="dim")


def _legend(results: Results, several: bool) -> list[str]:
    """What the short titles of the columns mean."""
    title, unit = results.criterion.title, UNITS[results.criterion.x]
    lines = [
        f"log10 final: of the final {title}. rate: decrease of ln {title} per {unit}; bound: the rate that a theorem "
        "promises. p vs. best: Holm-corrected p-value of the comparison with the method ranked first."
    ]
    if several:
        lines.append(
            f"mean {SHORT[results.criterion.x]}: interquartile mean; seeds that miss the target count with the "
            f"budget. log10 curve: mean log10 {title} over the curve."
        )
    return lines


def _titled(title: str, names: list[str], methods: pd.Series) -> Table:
    """An empty table with a rank, a method column as wide as the longest name (at most 24), and numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    widest = max(map(cell_len, map(visible, methods)))
    table.add_column("method", overflow="fold", min_width=min(widest + len(MARK), 24))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    return table


def _table(group: str, rows: pd.DataFrame, results: Results) -> Table:
    comparisons = results.comparisons[results.comparisons["group"] == group]
    same_seeds, criterion = rows["seeds"].nunique() == 1, results.criterion
    title = f"{group} ({_seeds(rows['seeds'].iloc[0])})" if same_seeds else group
    cost = f"{SHORT[criterion.x]} to {number(criterion.target)}"
    table = _titled(title, [cost, "log10 final", "rate", "bound", "p vs. best"], rows["method"])
    first = str(rows["method"].iloc[0])
    for row in rows.to_dict("records"):
        remarks = [] if same_seeds else [_seeds(row["seeds"])]
        remarks += [f"{row[state]} {state}" for state in ("failed", "unfinished") if row[state]]
        reached = f" ({row['reached']:.0%})" if 0 < row["reached"] < 1 else ""
        table.add_row(
            f"{row['rank']}",
            ", ".join([_name(row["method"], results), *remarks]),
            cost_of(row) + reached,
            tenths(row["final"], row["final_low"], row["final_high"]),
            number(row["rate"], 2),
            number(row["bound_rate"], 2),
            _short_p(corrected_p(first, row["method"], comparisons)),
        )
    return table


def _name(method: str, results: Results) -> str:
    return f"{method}{MARK if method in results.caveats else ''}"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _overall(results: Results) -> Table:
    rows = results.overall
    columns = ["settings won", "reached target", f"mean {SHORT[results.criterion.x]}", "log10 curve"]
    table = _titled(f"over all {rows['settings'].iloc[0]} settings", columns, rows["method"])
    for rank, row in enumerate(rows.to_dict("records"), 1):
        table.add_row(
            f"{rank}",
            _name(row["method"], results),
            f"{row['wins']}",
            f"{row['reached']:.0%}",
            spread(*(10 ** row[name] for name in ("score", "score_low", "score_high"))),
            tenths(row["area"], row["area_low"], row["area_high"]),
        )
    return table


def _short_p(p: float) -> str:
    """A p-value in six characters."""
    return "-" if math.isnan(p) else "<0.001" if p < 1e-3 else f"{p:.2g}"


def cost_of(row: Mapping[Any, Any]) -> str:
    """The median cost of a row with its interval; `> 5,000` if half or more miss the target."""
    middle, low, high = bounded(row["cost"], row["spent"]), row["cost_low"], row["cost_high"]
    return _with_ends(middle, bounded(low, row["spent"]), "-" if math.isnan(low) else bounded(high, row["spent"]))


def spread(value: float, low: float, high: float) -> str:
    """A number with its interval, `51 [43, 60]`."""
    return _with_ends(number(value), number(low), number(high))


def tenths(value: float, low: float, high: float) -> str:
    """A logarithm with its interval, `-12.8 [-13.0, -12.5]`."""
    if math.isnan(value):
        return "-"
    return _with_ends(*(f"{end:.1f}".replace("inf", "∞").replace("nan", "-") for end in (value, low, high)))


def _with_ends(middle: str, low: str, high: str) -> str:
    """The number, followed by its interval unless that is missing or a point."""
    return middle if low in ("-", high) else f"{middle} [{low}, {high}]"

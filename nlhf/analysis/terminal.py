"""The ranked table of a study in the terminal, 100 columns wide."""

from __future__ import annotations

import math

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nlhf.analysis.figures.base import MARK
from nlhf.analysis.material import Material
from nlhf.analysis.words import corrected_p, notes, number

WIDTH = 100
MOST_GROUPS = 12
SHORT = {"queries": "queries", "iteration": "iterations", "seconds": "seconds"}


def show(material: Material, console: Console) -> None:
    """A table per group, the best method first, and one over all groups where there are several."""
    groups = list(material.summary.groupby("group", sort=True))
    for group, rows in groups[:MOST_GROUPS]:
        console.print("", _table(str(group), rows, material), sep="\n")
    if len(groups) > MOST_GROUPS:
        console.print("", f"{len(groups) - MOST_GROUPS} more groups: see report.html, or choose columns with --by.",
                      sep="\n")  # fmt: skip
    if len(groups) > 1 and len(material.overall):
        console.print("", _overall(material), sep="\n")
    for line in notes(material.caveats, material.summary["method"]):
        console.print(line, style="dim")


def _columns(table: Table, names: list[str], first: pd.Series) -> Table:
    """A rank, a method as wide as the longest (up to 34), and numbers."""
    table.add_column("", justify="right")
    table.add_column("method", overflow="fold", min_width=min(int(first.str.len().max()) + len(MARK), 34))
    for name in names:
        table.add_column(name, justify="right", no_wrap="[" not in name)
    return table


def _table(group: str, rows: pd.DataFrame, material: Material) -> Table:
    comparisons = material.comparisons[material.comparisons["group"] == group]
    alike, view = rows["seeds"].nunique() == 1, material.view
    seeds = f" ({_seeds(rows['seeds'].iloc[0])})" if alike else ""
    table = Table(title=f"{group}{seeds}", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    cost = f"{SHORT[view.x]} to {number(view.target)}"
    _columns(table, [cost, "log10 last", "rate", "theory", "p vs 1"], rows["method"])
    first = str(rows["method"].iloc[0])
    for row in rows.to_dict("records"):
        remarks = [] if alike else [_seeds(row["seeds"])]
        remarks += [f"{row[state]} {state}" for state in ("failed", "unfinished") if row[state]]
        reached = f" ({row['reached']:.0%})" if row["reached"] < 1 else ""
        table.add_row(
            f"{row['rank']}",
            Text(", ".join([f"{row['method']}{MARK if row['method'] in material.caveats else ''}", *remarks])),
            spread(row["cost"], row["cost_low"], row["cost_high"]) + reached if row["reached"] else "never",
            tenths(row["final"], row["final_low"], row["final_high"]),
            number(row["rate"]),
            number(row["bound_rate"]),
            number(corrected_p(first, row["method"], comparisons)),
        )
    return table


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _overall(material: Material) -> Table:
    rows, caveats = material.overall, material.caveats
    title = f"over all {rows['settings'].iloc[0]} settings"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    _columns(table, ["best on", "reached", "log10, mean of the curve", "log10 last"], rows["method"])
    for place, row in enumerate(rows.to_dict("records"), 1):
        table.add_row(
            f"{place}",
            Text(f"{row['method']}{MARK if row['method'] in caveats else ''}"),
            f"{row['wins']}",
            f"{row['reached']:.0%}",
            tenths(row["area"], row["area_low"], row["area_high"]),
            tenths(row["final"], row["final_low"], row["final_high"]),
        )
    return table


def spread(value: float, low: float, high: float) -> str:
    """A cost with its interval, 51 [43, 60]; never where it is infinite."""
    middle = "never" if math.isinf(value) else number(value)
    return middle if math.isnan(low) or low == high else f"{middle} [{number(low)}, {number(high)}]"


def tenths(value: float, low: float, high: float) -> str:
    """A logarithm with its interval, -12.8 [-13.0, -12.5]."""
    if math.isnan(value):
        return "-"
    middle = "∞" if math.isinf(value) else f"{value:.1f}"
    return middle if math.isnan(low) or low == math.inf else f"{middle} [{low:.1f}, {high:.1f}]".replace("inf", "∞")

"""Curves against cost: medians over seeds with their 95% band, the theorem's bound dashed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.criterion import PLAIN, Criterion
from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import Look, handle, looks_of, marked, style
from nlhf.stats.bootstrap import FEWEST
from nlhf.stats.curves import FLOOR
from nlhf.stats.medians import outer_rank

PALE = 0.35


def convergence(data: pd.DataFrame, criterion: Criterion = PLAIN, caveats: dict[str, str] | None = None) -> Figure:
    """The criterion's metric against its cost, a panel per setting.

    Lines are medians over seeds of the logarithm, bands their 95% intervals (from five seeds on). For
    KL(pi* || pi) the theorem's bound is dashed (`kl_bound`, which bounds only the rate of the exploitability).
    Unfinished and failed runs are pale.
    """
    criterion.check(data)
    caveats = caveats or {}
    with style():
        settings = dict(iter(data.groupby("setting", sort=True)))
        figure, axes = layout.panels([str(name) for name in settings])
        looks = looks_of(data)
        drawn: set[str] = set()
        for axis, rows in zip(axes, settings.values(), strict=False):
            drawn |= {str(m) for m, runs in rows.groupby("method") if draw(axis, runs, criterion, looks[str(m)])}
            finish(axis, criterion)
        entries = _entries(drawn, looks, caveats, _with_bound(data, criterion))
        layout.below(figure, entries, caveats, drawn)
    return figure


def draw(axis: Axes, runs: pd.DataFrame, criterion: Criterion, look: Look, bound: bool = True) -> bool:
    """Draw a method's curve, band and (if `bound`) the theorem's bound; False if nothing was drawn."""
    runs = runs[runs[criterion.x] > 0]
    if runs[criterion.metric].notna().sum() == 0:
        return False
    table = over_cost(runs, criterion.metric, criterion.x).clip(lower=FLOOR)
    if criterion.x == "seconds":  # every row has a time of its own
        table = _thinned(table)
    alpha = 1.0 if (runs["status"] == "completed").all() else PALE
    logs: pd.DataFrame = table.map(np.log10)
    middle = 10 ** logs.median(axis=1).replace(np.inf, np.nan)  # a gap: KL to policies without pi*'s support
    axis.plot(
        middle.index,
        middle,
        color=look.colour,
        marker=look.marker,
        ms=3.2,
        lw=1.3,
        alpha=alpha,
        markevery=max(1, len(middle) // 12),
    )
    if table.shape[1] >= FEWEST:
        low, high = (10.0**end for end in band(logs.to_numpy()))
        axis.fill_between(middle.index, low, high, color=look.colour, alpha=0.2 * alpha, lw=0)
    if bound and _with_bound(runs, criterion):
        promised = over_cost(runs, "kl_bound", criterion.x).median(axis=1)
        promised = promised[promised >= middle.min() / 10]
        axis.plot(promised.index, promised, color=look.colour, ls="--", lw=0.9, alpha=alpha)
    return True


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95% intervals (T) of the medians of (T, n) over seeds; nan until all have a value."""
    n = values.shape[1]
    ordered, rank = np.sort(values, axis=1), outer_rank(n)  # nan is the largest
    missing = np.isnan(ordered[:, -1])
    low, high = (np.where(missing, np.nan, ordered[:, index]) for index in (rank, n - 1 - rank))
    return low, high


def finish(axis: Axes, criterion: Criterion) -> None:
    """Set scales, labels, and limits that fit the curves; a bound may lie far above."""
    curves = [line.get_ydata() for line in axis.lines if line.get_linestyle() == "-"]
    values = np.concatenate([np.asarray(curve, float) for curve in curves]) if curves else np.array([])
    layout.logarithmic(axis)
    axis.set(xlabel=criterion.cost, ylabel=criterion.title)
    if np.isfinite(values).any():
        axis.set_ylim(top=5 * np.nanmax(values))


def _thinned(table: pd.DataFrame, rows: int = 80) -> pd.DataFrame:
    return table if len(table) <= rows else table.iloc[np.unique(np.geomspace(1, len(table), rows).astype(int)) - 1]


def _with_bound(runs: pd.DataFrame, criterion: Criterion) -> bool:
    return criterion.metric == "kl_to_equilibrium" and criterion.x != "seconds" and bool(runs["kl_bound"].notna().any())


def _entries(drawn: set[str], looks: dict[str, Look], caveats: dict[str, str], bound: bool) -> dict[str, Line2D]:
    names = marked(drawn, caveats)
    entries = {names[name]: handle(look) for name, look in looks.items() if name in drawn}
    if bound:
        entries["theorem's bound"] = Line2D([], [], color="0.45", ls="--", lw=0.9)
    return entries


def over_cost(runs: pd.DataFrame, metric: str, x: str) -> pd.DataFrame:
    """A metric as a table cost x seeds; a seed keeps its last value until its next row and after its end."""
    table = runs.pivot_table(index=x, columns=["folder", "seed"], values=metric, aggfunc="last")
    return table.sort_index().ffill()

"""Methods side by side: the cost to the target over games, and performance profiles."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nlhf.analysis.criterion import PLAIN, Criterion
from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.overall import profile
from nlhf.stats.text import number


def heatmap(summary: pd.DataFrame, criterion: Criterion = PLAIN, caveats: dict[str, str] | None = None) -> Figure:
    """Median cost to the target, groups x methods, of the table that `summarise` returns.

    Methods are ordered by their mean rank. A dash means that half or more of the seeds spend their budget without
    reaching the target.
    """
    caveats = caveats or {}
    table = summary.pivot_table(index="group", columns="method", values="cost", aggfunc="first", dropna=False)
    order = summary.groupby("method")["rank"].mean().sort_values(kind="stable").index
    table = table[[name for name in order if name in table]]
    names = marked(table.columns, caveats)
    title = f"{criterion.cost} to {criterion.title} ≤ {number(criterion.target)}"
    columns = [layout.wrapped(names[str(name)], 30) for name in table]
    rows = [layout.wrapped(str(name), 46) for name in table.index]
    with style():
        (row_width, row_lines), (column_width, column_lines) = layout.extent(rows), layout.extent(columns)
        width = max(0.62, 0.27 * column_lines) * table.shape[1] + 0.066 * row_width + 0.4
        height = max(0.34, 0.15 * row_lines) * table.shape[0] + 0.04 * column_width + 0.15 * column_lines + 0.6
        figure = Figure(figsize=(max(width, 4.2, 0.068 * len(title)), height), layout="constrained")
        axis = figure.subplots()
        figure.suptitle(title, fontsize=9)
        _cells(axis, table.to_numpy(float))
        axis.set_xticks(range(table.shape[1]), columns, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(table.shape[0]), rows)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        layout.below(figure, {}, caveats, table.columns)
    return figure


def _cells(axis: Axes, values: np.ndarray) -> None:
    """Draw cells coloured by the logarithm, with numbers; missing values are grey."""
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    norm = LogNorm(low, max(high, 1.01 * low))
    clipped = np.where(np.isfinite(values), np.maximum(values, low), np.nan)
    axis.imshow(clipped, cmap=mpl.colormaps["viridis_r"].with_extremes(bad="#e9e9e9"), norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        text = "–" if np.isinf(value) else compact(value)
        dark = np.isfinite(value) and norm(max(value, low)) > 0.55
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")


def compact(value: float) -> str:
    """A count in few characters: 850, 1.2k, 31k, 2.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}" if value >= 9.95 or value == int(value) else f"{value:.2g}"


def performance_profile(
    observations: pd.DataFrame, criterion: Criterion = PLAIN, caveats: dict[str, str] | None = None
) -> Figure:
    """The share of settings x seeds that each method solves within a factor of the lowest cost."""
    caveats = caveats or {}
    factors = np.geomspace(1, 1000, 121)
    table, by_method = profile(observations, factors), looks_of(observations)
    with style():
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axis = figure.subplots()
        for method in table:
            look = by_method[str(method)]
            options = {"color": look.colour, "marker": look.marker, "ms": 3.5, "lw": 1.3, "markevery": 12}
            axis.step(factors, table[method], where="post", **options)
        axis.set(xscale="log", xlim=(1, 1000), ylim=(-0.02, 1.02), ylabel="share of instances solved")
        axis.set_xlabel(f"factor of the fewest {criterion.cost}, to {number(criterion.target)}")
        names = marked(by_method, caveats)
        order = sorted(table, key=lambda method: -table[method].mean())
        layout.below(figure, {names[str(m)]: handle(by_method[str(m)]) for m in order}, caveats, by_method)
    return figure

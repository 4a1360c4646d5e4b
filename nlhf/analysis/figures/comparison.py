"""Methods side by side: cost to the target over games, performance profiles, and quantities against a config key."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from nlhf.analysis.criterion import PLAIN, View
from nlhf.analysis.figures import base
from nlhf.analysis.labels import name_of
from nlhf.stats import bootstrap
from nlhf.stats.comparison import profile
from nlhf.stats.text import number

STRIP = 0.2  # of an axis, for what has no value


def heatmap(summary: pd.DataFrame, view: View = PLAIN, caveats: dict[str, str] | None = None) -> Figure:
    """Median cost to the target, groups x methods, of the table that `summarise` returns; a dash where half or
    more of the seeds spend their budget without reaching it. Methods stand in the order of their mean rank."""
    caveats = caveats or {}
    table = summary.pivot_table(index="group", columns="method", values="cost", aggfunc="first", dropna=False)
    order = summary.groupby("method")["rank"].mean().sort_values(kind="stable").index
    table = table[[name for name in order if name in table]]
    names = base.marked(table.columns, caveats)
    title = f"{view.cost} to {view.title} ≤ {number(view.target)}"
    below = [base.wrapped(names[str(name)], 30) for name in table]
    left = [base.wrapped(str(name), 46) for name in table.index]
    with base.style():
        (wide, lines), (tilted, high) = base.extent(left), base.extent(below)
        width = max(0.62, 0.27 * high) * table.shape[1] + 0.066 * wide + 0.4
        height = max(0.34, 0.15 * lines) * table.shape[0] + 0.04 * tilted + 0.15 * high + 0.6
        figure = Figure(figsize=(max(width, 4.2, 0.068 * len(title)), height), layout="constrained")
        axis = figure.subplots()
        figure.suptitle(title, fontsize=9)
        _cells(axis, table.to_numpy(float))
        axis.set_xticks(range(table.shape[1]), below, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(table.shape[0]), left)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        base.below(figure, {}, caveats, table.columns)
    return figure


def _cells(axis: Axes, values: np.ndarray) -> None:
    """Coloured by the logarithm, and numbered, so that no colour bar is needed; grey where there is no number."""
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    norm = LogNorm(low, max(high, 1.01 * low))
    shown = np.where(np.isfinite(values), np.maximum(values, low), np.nan)
    axis.imshow(shown, cmap=mpl.colormaps["viridis_r"].with_extremes(bad="#e9e9e9"), norm=norm, aspect="auto")
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


def performance_profile(units: pd.DataFrame, view: View = PLAIN, caveats: dict[str, str] | None = None) -> Figure:
    """The share of settings x seeds that a method solves within a factor of the fewest cost any method needed there."""
    caveats = caveats or {}
    factors = np.geomspace(1, 1000, 121)
    table, looks = profile(units, factors), base.looks(units)
    with base.style():
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axis = figure.subplots()
        for method in table:
            look = looks[str(method)]
            axis.step(factors, table[method], where="post", color=look.colour, marker=look.marker, ms=3.5, lw=1.3,
                      markevery=12)  # fmt: skip
        axis.set(xscale="log", xlim=(1, 1000), ylim=(-0.02, 1.02), ylabel="share of instances solved",
                 xlabel=f"factor of the fewest {view.cost}, to {number(view.target)}")  # fmt: skip
        names = base.marked(looks, caveats)
        order = sorted(table, key=lambda method: -table[method].mean())
        base.below(figure, {names[str(m)]: base.handle(looks[str(m)]) for m in order}, caveats, looks)
    return figure


def against(units: pd.DataFrame, key: str, quantity: str, view: View, caveats: dict[str, str] | None = None) -> Figure:
    """A quantity of `units` against a number of the configs, a line per algorithm and a panel per remaining setting.

    Args:
        units: with the column `key`, and `panel`, what a panel is called (`by_key`).
        key: as `beta`, `algorithm.step_size`, `game.cyclicity`, `game.actions`.
        quantity: `cost`, medians, with crosses in a strip above where half or more of the seeds spend their
            budget without reaching the target;
            `final`, medians; or `rate`, means, with what the theorem promises dashed.
    """
    caveats = caveats or {}
    looks = base.looks(units.assign(method=units["line"]))
    units = units[units[key].notna()]
    with base.style():
        groups = dict(iter(units.groupby("panel", sort=True)))
        figure, axes = base.panels([str(name) for name in groups], size=(3.6, 2.8))
        lines = dict(zip(units["method"], units["line"], strict=True))
        caveats = {lines[method]: caveat for method, caveat in caveats.items() if method in lines}
        names = base.marked(looks, caveats)
        entries: dict[str, Line2D] = {}
        for axis, members in zip(axes, groups.values(), strict=False):
            named = list(members.groupby("line", sort=True))
            for place, (line, rows) in enumerate(named):
                height = 1 - STRIP * (place + 1) / (len(named) + 1)
                if _line(axis, rows, key, quantity, looks[str(line)], height):
                    entries[names[str(line)]] = base.handle(looks[str(line)])
            _finish(axis, units[key].to_numpy(float), key, quantity, view)
            if quantity == "cost" and not members["reached"].all():
                _strip(axis, float(members["spent"].max()))
        if quantity == "rate":
            entries["theorem"] = Line2D([], [], color="0.45", ls="--", lw=0.9)
        if quantity == "cost" and not units["reached"].all():
            entries["budget spent"] = Line2D([], [], color="0.45", marker="x", ls="")
        base.below(figure, entries, caveats, units["line"].unique())
    return figure


def by_key(units: pd.DataFrame, data: pd.DataFrame, key: str) -> pd.DataFrame:
    """`units` with the column `key` as numbers, nan where it is none, `panel`, the setting without it, and `line`, the
    method without it."""
    column = data.drop_duplicates("folder").set_index("folder")[key] if key in data else pd.Series(dtype=float)
    values = pd.to_numeric(units["folder"].map(column), errors="coerce")
    found: pd.DataFrame = units.assign(**{key: values.where(np.isfinite(values))})
    name = f"{name_of(key)} = "
    for new, old in (("panel", "setting"), ("line", "method")):
        parts = found[old].str.split(", ")
        found[new] = parts.map(lambda words: ", ".join(word for word in words if not word.startswith(name)))
    return found


def _line(axis: Axes, rows: pd.DataFrame, key: str, quantity: str, look: base.Look, height: float) -> bool:
    """A line with its band, and crosses at this height of the axes; False where no point has a value."""
    points = [(value, *_point(members, quantity)) for value, members in rows.groupby(key)]
    x, middle, low, high, promised = (np.array(column) for column in zip(*points, strict=True))
    never = np.isinf(middle)
    shown = np.where(never, np.nan, middle)
    axis.plot(x, shown, color=look.colour, marker=look.marker, ms=4, lw=1.3)
    spent = float(rows["spent"].max())  # where an interval has no end
    ends = np.where(never, np.nan, low), np.where(np.isinf(high), spent, high)
    axis.fill_between(x, *ends, color=look.colour, alpha=0.2, lw=0)
    if quantity == "cost" and never.any():
        axis.plot(x[never], np.full(never.sum(), height), color=look.colour, marker="x", ls="", ms=4.5,
                  transform=axis.get_xaxis_transform())  # fmt: skip
    axis.plot(x, promised, color=look.colour, ls="--", lw=0.9)
    return not np.isnan(middle).all()


def _point(members: pd.DataFrame, quantity: str) -> tuple[float, float, float, float]:
    """The statistic of one point, its interval, and what the theorem promises (nan unless a rate)."""
    kept = members[~members["replica"]]
    if quantity == "cost":
        costs, reached = kept["cost"].to_numpy(), kept["reached"].to_numpy()
        ends = bootstrap.censored_median_interval(costs, reached)
        return float(bootstrap.censored_median(costs, reached)[0]), *ends, np.nan
    values = kept[quantity].dropna().to_numpy()
    if not len(values):
        return np.nan, np.nan, np.nan, kept["bound_rate"].mean() if quantity == "rate" else np.nan
    if quantity == "rate":
        return float(values.mean()), *bootstrap.mean_interval(values), float(kept["bound_rate"].mean())
    low, high = bootstrap.interval(values, bootstrap.median)
    return float(10 ** bootstrap.median(values)), 10.0**low, 10.0**high, np.nan


def _strip(axis: Axes, most: float) -> None:
    """Room above the curves for what has no value; where there is no curve, of costs up to `most`."""
    if not np.isfinite(axis.dataLim.intervaly).all():
        axis.set_ylim(max(most, 1) / 100, max(most, 1))
    bottom, top = axis.get_ylim()
    ticks = [tick for tick in axis.get_yticks() if bottom <= tick <= top]
    axis.set_ylim(bottom, bottom * (top / bottom) ** (1 / (1 - STRIP)))
    axis.set_yticks(ticks)
    axis.yaxis.set_minor_locator(NullLocator())
    axis.add_patch(Rectangle((0, 1 - STRIP), 1, STRIP, transform=axis.transAxes, color="0.94", lw=0, zorder=0))


def _finish(axis: Axes, x: np.ndarray, key: str, quantity: str, view: View) -> None:
    wide = x.min() > 0 and x.max() > 8 * x.min()
    labels = {
        "cost": f"{view.cost} to {number(view.target)}",
        "final": f"last {view.title}",
        "rate": f"rate: fall of ln {view.title}\nper {view.cost.removesuffix('s').replace('querie', 'query')}",
    }
    base.logarithmic(axis, x=wide)
    axis.set(xlabel=name_of(key).replace("_", " "), ylabel=labels[quantity])

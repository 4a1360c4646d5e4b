"""A quantity of the observations against a config key, such as beta or the step size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import Look, handle, looks_of, marked, style
from nlhf.analysis.labels import name_of
from nlhf.stats import bootstrap, survival
from nlhf.stats.medians import median_interval
from nlhf.stats.text import number

STRIP = 0.2  # of an axis, for crosses that stand for missing values


def against(
    observations: pd.DataFrame, key: str, quantity: str, criterion: Criterion, caveats: dict[str, str] | None = None
) -> Figure:
    """A quantity of observations against a config key, a line per algorithm, a panel per setting.

    Args:
        observations: the table that `by_key` returns.
        key: such as `beta`, `algorithm.step_size`, `game.cyclicity`, `game.actions`.
        quantity: `cost`, medians, with crosses in a strip above where half or more of the seeds spend their budget
            without reaching the target; `final`, medians; or `rate`, medians, with the theorem's rate dashed.
    """
    by_line = looks_of(observations.assign(method=observations["line"]))
    observations = observations[observations[key].notna()]
    lines = dict(zip(observations["method"], observations["line"], strict=True))
    caveats = {lines[method]: caveat for method, caveat in (caveats or {}).items() if method in lines}
    names = marked(by_line, caveats)
    missed = quantity == "cost" and not observations["reached"].all()
    with style():
        groups = dict(iter(observations.groupby("panel", sort=True)))
        figure, axes = layout.panels([str(name) for name in groups], size=(3.6, 2.8))
        entries: dict[str, Line2D] = {}
        for axis, members in zip(axes, groups.values(), strict=False):
            by_name = list(members.groupby("line", sort=True))
            for row, (line, rows) in enumerate(by_name):
                height = 1 - STRIP * (row + 1) / (len(by_name) + 1)
                if _line(axis, rows, key, quantity, by_line[str(line)], height):
                    entries[names[str(line)]] = handle(by_line[str(line)])
            _finish(axis, observations[key].to_numpy(float), key, quantity, criterion)
            if quantity == "cost" and not members["reached"].all():
                _strip(axis, float(members["spent"].max()))
        if quantity == "rate":
            entries["theorem"] = Line2D([], [], color="0.45", ls="--", lw=0.9)
        if missed:
            entries["budget spent"] = Line2D([], [], color="0.45", marker="x", ls="")
        layout.below(figure, entries, caveats, observations["line"].unique())
    return figure


def by_key(observations: pd.DataFrame, data: pd.DataFrame, key: str) -> pd.DataFrame:
    """The observations with `key` as numbers, and the setting (`panel`) and method (`line`) without it."""
    column = data.drop_duplicates("folder").set_index("folder")[key] if key in data else pd.Series(dtype=float)
    values = pd.to_numeric(observations["folder"].map(column), errors="coerce")
    table: pd.DataFrame = observations.assign(**{key: values.where(np.isfinite(values))})
    start = f"{name_of(key)} = "
    for new, old in (("panel", "setting"), ("line", "method")):
        parts = table[old].str.split(", ")
        table[new] = parts.map(lambda names: ", ".join(name for name in names if not name.startswith(start)))
    return table


def _line(axis: Axes, rows: pd.DataFrame, key: str, quantity: str, look: Look, height: float) -> bool:
    """Draw a line with its band, and crosses at `height` of the axes; False if no point has a value."""
    points = [(value, *_point(members, quantity)) for value, members in rows.groupby(key)]
    x, middle, low, high, promised = (np.array(column) for column in zip(*points, strict=True))
    never = np.isinf(middle)
    finite = np.where(never, np.nan, middle)
    axis.plot(x, finite, color=look.colour, marker=look.marker, ms=4, lw=1.3)
    spent = float(rows["spent"].max())  # the upper end of an unbounded interval
    ends = np.where(never, np.nan, low), np.where(np.isinf(high), spent, high)
    axis.fill_between(x, *ends, color=look.colour, alpha=0.2, lw=0)
    if quantity == "cost" and never.any():
        options = {"color": look.colour, "marker": "x", "ls": "", "ms": 4.5}
        axis.plot(x[never], np.full(never.sum(), height), transform=axis.get_xaxis_transform(), **options)
    axis.plot(x, promised, color=look.colour, ls="--", lw=0.9)
    return not np.isnan(middle).all()


def _point(members: pd.DataFrame, quantity: str) -> tuple[float, float, float, float]:
    """The statistic of one point, its interval, and the theorem's rate (nan for other quantities)."""
    counted = members[~members["replica"]]
    if quantity == "cost":
        costs, reached = counted["cost"].to_numpy(), counted["reached"].to_numpy()
        ends = survival.censored_median_interval(costs, reached)
        return float(survival.censored_median(costs, reached)[0]), *ends, np.nan
    values = counted[quantity].dropna().to_numpy()
    if not len(values):
        return np.nan, np.nan, np.nan, counted["bound_rate"].mean() if quantity == "rate" else np.nan
    low, high = median_interval(values)
    if quantity == "rate":
        return float(bootstrap.median(values)), low, high, float(counted["bound_rate"].mean())
    return float(10 ** bootstrap.median(values)), 10.0**low, 10.0**high, np.nan


def _strip(axis: Axes, largest: float) -> None:
    """Make room above the curves for crosses; an axis without curves shows costs up to `largest`."""
    if not np.isfinite(axis.dataLim.intervaly).all():
        axis.set(yscale="log", ylim=(max(largest, 1) / 100, max(largest, 1)))
    bottom, top = axis.get_ylim()
    ticks = [tick for tick in axis.get_yticks() if bottom <= tick <= top]
    axis.set_ylim(bottom, bottom * (top / bottom) ** (1 / (1 - STRIP)))
    axis.set_yticks(ticks)
    axis.yaxis.set_minor_locator(NullLocator())
    axis.add_patch(Rectangle((0, 1 - STRIP), 1, STRIP, transform=axis.transAxes, color="0.94", lw=0, zorder=0))


def _finish(axis: Axes, x: np.ndarray, key: str, quantity: str, criterion: Criterion) -> None:
    unit = criterion.cost.removesuffix("s").replace("querie", "query")
    labels = {
        "cost": f"{criterion.cost} to {number(criterion.target)}",
        "final": f"final {criterion.title}",
        "rate": f"decrease of ln {criterion.title}\nper {unit}",
    }
    layout.logarithmic(axis, x=x.min() > 0 and x.max() > 8 * x.min())
    axis.set(xlabel=name_of(key).replace("_", " "), ylabel=labels[quantity])

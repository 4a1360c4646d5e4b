"""How the mean ranks of methods depend on the target and on the horizon."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import Look, handle, looks_of, marked, style
from nlhf.stats.text import number


def mean_ranks(
    table: pd.DataFrame, observations: pd.DataFrame, criterion: Criterion, caveats: dict[str, str]
) -> Figure:
    """The mean rank of each method against the target and against the horizon, lower is better.

    Args:
        table: of `robustness.mean_ranks`.
        observations: give each method its colour and marker.
        criterion: its target and horizon are marked.
        caveats: of methods.
    """
    by_method = looks_of(observations)
    with style():
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        target, horizon = figure.subplots(1, 2, sharey=True)
        _panel(target, table[table["varied"] == "target"], by_method)
        target.set(xlabel="target", ylabel="mean rank")
        target.set_xticks(*_ticks(table, "target", criterion.target))
        _panel(horizon, table[table["varied"] == "horizon"], by_method)
        horizon.set(xlabel="share of the horizon")
        horizon.set_xticks(*_ticks(table, "horizon", 1.0))
        target.invert_yaxis()
        target.invert_xaxis()
        names = marked(by_method, caveats)
        methods = [method for method in by_method if method in set(table["method"])]
        layout.below(figure, {names[name]: handle(by_method[name]) for name in methods}, caveats, methods)
    return figure


def _panel(axis: Axes, table: pd.DataFrame, looks: dict[str, Look]) -> None:
    for method, rows in table.groupby("method", sort=True):
        rows, look = rows.sort_values("factor"), looks[str(method)]
        axis.plot(rows["factor"], rows["mean_rank"], color=look.colour, marker=look.marker, ms=4, lw=1.3)
    axis.set_xscale("log")
    axis.axvline(1, color="0.6", lw=0.8, ls=":")
    axis.minorticks_off()


def _ticks(table: pd.DataFrame, varied: str, unit: float) -> tuple[list[float], list[str]]:
    """The factors, and their labels in units of the criterion's."""
    factors = sorted(table.loc[table["varied"] == varied, "factor"].unique())
    labels = [
        number(factor * unit) if varied == "target" else f"1/{round(1 / factor)}" if factor < 1 else "1"
        for factor in factors
    ]
    return factors, labels

"""Figures of a DataFrame as `load` gives it; every function returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.load import label

MARKERS = "oD^sPXv<>*hd"
BAND = (0.1, 0.9)  # quantiles of the seeds between which the band lies
PANELS = {"exploitability": "exploitability", "kl_to_equilibrium": "KL to the equilibrium"}


def convergence(data: pd.DataFrame) -> Figure:
    """Exploitability and KL to the equilibrium against preference queries, one row of panels per setting.

    Where a beta is 0 also the exploitability of the average policy, which is what converges for many methods.

    A line is the median over seeds, its band the 10% to 90% quantiles, dashed is the theorem's bound (its median over
    seeds); unfinished and failed runs are drawn pale.
    """
    sns.set_theme(style="ticks", context="paper", font_scale=1.1)
    data = label(data)
    settings = list(data.groupby("setting", sort=True))
    panels = {name: title for name, title in PANELS.items() if data[name].notna().any()}
    if (data["beta"] == 0).any():
        panels["average_exploitability"] = "exploitability of the average"
    looks = _looks(data["method"].unique())
    figure = Figure(figsize=(4.6 * len(panels), 3.2 * len(settings)), layout="constrained")
    grid = figure.subplots(len(settings), len(panels), squeeze=False)
    for axes, (setting, rows) in zip(grid, settings, strict=True):
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            for method, runs in rows.groupby("method", sort=True):
                _draw(axis, runs, metric, str(method), *looks[str(method)])
            axis.set(xscale="log", yscale="log", xlabel="preference queries", ylabel=title)
            axis.set_title(str(setting))
            sns.despine(ax=axis)
    handles, labels = _legend(grid, any(data["kl_bound"].notna()))
    columns = max(1, int(figure.get_figwidth() * 11 / (max(map(len, labels), default=0) + 8)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PDF and PNG; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{ending}" for ending in (".pdf", ".png")]
    for path in paths:
        figure.savefig(path, dpi=160)
    return paths


def over_seeds(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric as a table queries x seeds; a seed keeps its last value until the next row and after its end."""
    table = runs.pivot_table(index="queries", columns=["folder", "seed"], values=metric, aggfunc="last")
    return table.sort_index().ffill()


def _draw(axis: Axes, runs: pd.DataFrame, metric: str, label: str, colour: tuple[float, ...], marker: str) -> None:
    runs = runs[runs["queries"] > 0]
    if runs[metric].notna().sum() == 0:
        return
    table = over_seeds(runs, metric).clip(lower=1e-33)
    table = table.where(np.isfinite(table))  # KL to a policy without the equilibrium's support
    alpha = 1.0 if (runs["status"] == "completed").all() else 0.35
    middle = table.median(axis=1)
    axis.plot(middle.index, middle, color=colour, marker=marker, markersize=4, lw=1.4, alpha=alpha, label=label)
    if table.shape[1] > 1:
        low, high = (table.quantile(q, axis=1) for q in BAND)
        axis.fill_between(middle.index, low, high, color=colour, alpha=0.2 * alpha, lw=0)
    if metric == "kl_to_equilibrium" and runs["kl_bound"].notna().any():
        bound = over_seeds(runs, "kl_bound").median(axis=1)
        bound = bound[bound >= middle.min() / 10]
        axis.plot(bound.index, bound, color=colour, ls="--", lw=1, alpha=alpha)


def _looks(methods: Iterable[str]) -> dict[str, tuple[tuple[float, ...], str]]:
    """One colour-blind safe colour and one marker per method."""
    names = sorted(methods)
    colours = sns.color_palette("colorblind", max(len(names), 1))
    return {name: (colours[i], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _legend(grid: np.ndarray, bounds: bool) -> tuple[list[Artist], list[str]]:
    """Every label once, and the dashed line where there are bounds."""
    found: dict[str, Artist] = {}
    for axis in grid.flat:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if bounds:
        found["theorem's bound"] = Line2D([], [], color="0.4", ls="--", lw=1)
    return list(found.values()), list(found)

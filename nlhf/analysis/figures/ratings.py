"""The figure of ratings with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import COLOURS, style


def ratings(items: Sequence[str], values: np.ndarray, low: np.ndarray, high: np.ndarray) -> Figure | None:
    """Dots with intervals, the first item on top; items without a finite rating are left out. None without any.

    Args:
        values, low, high: (n).
    """
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return None
    names, heights = [layout.wrapped(items[int(k)], 30) for k in finite], np.arange(len(finite))[::-1]
    with style():
        width, lines = layout.extent(names)
        figure = Figure(
            figsize=(3.2 + 0.066 * width, max(0.24, 0.14 * lines) * len(finite) + 0.8), layout="constrained"
        )
        axis = figure.subplots()
        bounded = finite[np.isfinite(low[finite]) & np.isfinite(high[finite])]
        rows = heights[np.isin(finite, bounded)]
        axis.hlines(rows, low[bounded], high[bounded], color=COLOURS[0], lw=1.6)
        axis.plot(values[finite], heights, "o", color=COLOURS[0], ms=4)
        axis.set_yticks(heights, names)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("Elo rating")
        axis.grid(axis="x", color="0.9", lw=0.6)
        axis.set_axisbelow(True)
        sns.despine(ax=axis, left=True)
    return figure

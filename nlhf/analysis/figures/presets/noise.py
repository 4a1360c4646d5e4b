"""The error that sampled answers leave."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from nlhf.analysis.figures.preset import LINES, Preset, against_key
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure | None:
    """The final value against m, and a line that falls as 1/m."""
    figure = against_key("prox.opponents", "final")(results)
    for axis in figure.axes if figure is not None else ():
        curves = [np.asarray(line.get_xydata(), float) for line in axis.lines]
        x, y = max((points for points in curves if len(points)), key=lambda points: float(points[0, 1])).T
        axis.plot(x, y[0] * x[0] / x, color="0.45", ls=":", lw=1.0)
        axis.text(0.97, 0.95, "dotted: 1/m", color="0.35", fontsize=8, ha="right", va="top", transform=axis.transAxes)
    return figure


PRESET = Preset(
    "How large is the error that sampled answers leave?",
    draw,
    f"The final value after a thousand iterations, against m, the number of opponents of an action in a query. {LINES}",
)

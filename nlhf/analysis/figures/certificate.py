"""The figure of the certified exploitability against the number of votes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import COLOURS, style


def certificate(numbers: Sequence[int], once: Sequence[float], anytime: Sequence[float], unit: str) -> Figure:
    """The bounds of the best policy for the first observations; logarithmic horizontal axis.

    Args:
        numbers: of observations, (K).
        once, anytime: certified exploitabilities, (K) each.
        unit: what is counted, in the plural.
    """
    with style():
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axis = figure.subplots()
        for values, label, colour, line in (
            (anytime, "at any time", COLOURS[0], "-"),
            (once, "one look", COLOURS[1], "--"),
        ):
            axis.plot(numbers, [0.5 + value for value in values], line, color=colour, lw=1.6, label=label)
            axis.plot(numbers[-1], 0.5 + values[-1], "o", color=colour, ms=4, clip_on=False)
        axis.set_xscale("log")
        if numbers[-1] < 20 * numbers[0]:
            axis.set_xticks([numbers[0], numbers[len(numbers) // 2], numbers[-1]])
            axis.minorticks_off()
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set(xlabel=layout.wrapped(unit), ylabel="certified bound", ylim=(0.5, None))
        axis.legend()
    return figure

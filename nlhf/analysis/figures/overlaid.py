"""Several metrics of every method in one panel, told apart by the styles of their lines."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.convergence import over_cost
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.results import Results
from nlhf.stats.curves import FLOOR

LINE_STYLES = ("-", "--")


def overlaid(results: Results, titles: Mapping[str, str], lowest: float = FLOOR) -> Figure:
    """Medians over seeds of exploitabilities of several kinds against the cost, a panel per setting.

    Args:
        titles: the names of the kinds in the legend, by their columns; the first is solid, the second dashed.
        lowest: smaller values are drawn here.
    """
    data, cost = results.study.rows, results.criterion.x
    with style():
        settings = dict(iter(data.groupby("setting", sort=True)))
        across = 2 if len(settings) == 4 else layout.ACROSS
        figure, axes = layout.panels([str(name) for name in settings], across)
        looks = looks_of(data)
        for axis, rows in zip(axes, settings.values(), strict=False):
            for method, runs in rows[rows[cost] > 0].groupby("method"):
                look = looks[str(method)]
                for metric, line in zip(titles, LINE_STYLES, strict=True):
                    middle = over_cost(runs, metric, cost).clip(lower=lowest).median(axis=1)
                    every = max(1, len(middle) // 8)
                    options = {"color": look.colour, "ls": line, "lw": 1.2, "marker": look.marker, "ms": 3}
                    axis.plot(middle.index, middle, markevery=every, **options)
            layout.logarithmic(axis)
            axis.set(xlabel=results.criterion.cost, ylabel="exploitability")
        names = marked(looks, results.caveats)
        entries = {names[name]: handle(look) for name, look in looks.items()}
        lines = zip(titles.values(), LINE_STYLES, strict=True)
        entries |= {title: Line2D([], [], color="0.45", ls=line) for title, line in lines}
        layout.below(figure, entries, results.caveats, looks)
    return figure

"""Last iterate and average without a KL term."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.convergence import over_cost
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.results import Results
from nlhf.stats.curves import FLOOR

LINE_STYLES = {"exploitability": "-", "average_exploitability": "--"}


def draw(results: Results) -> Figure:
    """The last iterate, solid, and the average, dashed, a panel per game."""
    data, cost = results.study.rows, results.criterion.x
    with style():
        settings = dict(iter(data.groupby("setting", sort=True)))
        figure, axes = layout.panels([str(name) for name in settings])
        looks = looks_of(data)
        for axis, rows in zip(axes, settings.values(), strict=False):
            for method, runs in rows[rows[cost] > 0].groupby("method"):
                look = looks[str(method)]
                for metric, line in LINE_STYLES.items():
                    middle = over_cost(runs, metric, cost).clip(lower=FLOOR).median(axis=1)
                    every = max(1, len(middle) // 8)
                    options = {"color": look.colour, "ls": line, "lw": 1.2, "marker": look.marker, "ms": 3}
                    axis.plot(middle.index, middle, markevery=every, **options)
            layout.logarithmic(axis)
            axis.set(xlabel=results.criterion.cost, ylabel="exploitability")
        names = marked(looks, results.caveats)
        entries = {names[name]: handle(look) for name, look in looks.items()}
        entries |= {"last iterate": Line2D([], [], color="0.45"), "average": Line2D([], [], color="0.45", ls="--")}
        layout.below(figure, entries, results.caveats, looks)
    return figure


PRESET = Preset(
    "Without a KL term: does the last iterate converge, or only the average?",
    draw,
    "Exploitability of the last iterate, solid, and of the average, dashed; medians over seeds.",
)

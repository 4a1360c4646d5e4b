"""Convergence over queries, and over the calls that rejection sampling takes."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.convergence import draw as draw_curve
from nlhf.analysis.figures.convergence import over_cost
from nlhf.analysis.figures.preset import LINES, Preset
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.results import Results

CALLS = "preference_calls"


def draw(results: Results) -> Figure | None:
    """Solid, all methods over queries; dashed, Nash-RS over calls of the preference model; a panel per setting."""
    rows, criterion = results.study.rows, results.criterion
    if CALLS not in rows or rows[CALLS].isna().all():
        return None
    with style():
        settings = dict(iter(rows.groupby("setting", sort=True)))
        figure, axes = layout.panels([str(name) for name in settings], across=2)
        looks = looks_of(rows)
        for axis, members in zip(axes, settings.values(), strict=False):
            for method, runs in members.groupby("method"):
                draw_curve(axis, runs, criterion, looks[str(method)], bound=False)
                if (runs[CALLS] > 0).any():
                    table = over_cost(runs[runs[CALLS] > 0], criterion.metric, CALLS)
                    middle = table.dropna().median(axis=1)
                    axis.plot(middle.index, middle, color=looks[str(method)].colour, ls="--", lw=1.1)
            layout.logarithmic(axis)
            axis.set(xlabel="queries, or calls of the model", ylabel=criterion.title)
        names = marked(looks, results.caveats)
        entries = {names[name]: handle(look) for name, look in looks.items()}
        entries["over calls of the preference model"] = Line2D([], [], color="0.45", ls="--", lw=1.1)
        layout.below(figure, entries, results.caveats, looks)
    return figure


PRESET = Preset(
    "How many calls of a preference model does rejection sampling take?",
    draw,
    "Solid, against preference queries; dashed, Nash-RS against the calls of the preference model that its rejection "
    f"sampling takes. {LINES}",
    frozenset({"convergence"}),
)

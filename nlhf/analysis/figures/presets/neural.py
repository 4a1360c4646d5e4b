"""Training and test curves of neural policies across contexts."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.convergence import draw as draw_curve
from nlhf.analysis.figures.convergence import finish
from nlhf.analysis.figures.preset import LINES, Preset, caveats_of_algorithms, same_height, tuned_methods
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure | None:
    """The chosen configuration of every algorithm on the other seeds: train contexts, then test."""
    if (chosen := tuned_methods(results)) is None:
        return None
    table, tuning_seeds = chosen
    rows, metric = results.study.rows, results.criterion.metric
    rows = rows[rows["method"].isin(table["method"]) & ~rows["seed"].isin(tuning_seeds)]
    panels = {"train contexts": metric, "test contexts": f"test_{metric}"}
    panels = {title: name for title, name in panels.items() if name in rows}
    with style():
        figure, axes = layout.panels(list(panels))
        looks, caveats = looks_of(rows.assign(method=rows["algorithm"])), caveats_of_algorithms(results)
        for axis, name in zip(axes, panels.values(), strict=False):
            for algorithm, runs in rows.groupby("algorithm"):
                draw_curve(axis, runs, replace(results.criterion, metric=name), looks[str(algorithm)], bound=False)
            finish(axis, results.criterion)
        same_height(axes)
        names = marked(looks, caveats)
        rates = {row["algorithm"]: row["method"].rpartition(" = ")[2] for row in table.to_dict("records")}
        entries = {f"{names[name]}, {rates[name]}": handle(look) for name, look in looks.items()}
        layout.below(figure, entries, caveats, looks)
    return figure


PRESET = Preset(
    "Which method learns a policy across contexts, from sampled pairs?",
    draw,
    "Each algorithm at the learning rate (after its name) that did best on the tuning seeds, shown on the other seeds; "
    f"right, on contexts that no policy was trained on. {LINES}",
)

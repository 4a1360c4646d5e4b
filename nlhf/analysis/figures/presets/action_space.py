"""Convergence for several numbers of actions."""

from __future__ import annotations

import seaborn as sns
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.convergence import draw as draw_curve
from nlhf.analysis.figures.convergence import finish
from nlhf.analysis.figures.preset import Preset, same_height
from nlhf.analysis.figures.style import MARKERS, Look, handle, marked, style
from nlhf.analysis.results import Results
from nlhf.stats.text import number

KEY = "game.actions"


def draw(results: Results) -> Figure | None:
    """A panel per algorithm, a curve per number of actions."""
    data = results.study.rows
    if KEY not in data or data[KEY].isna().all():
        return None
    with style():
        algorithms = dict(iter(data.groupby("algorithm", sort=True)))
        figure, axes = layout.panels(list(marked(algorithms, results.caveats).values()))
        sizes = sorted(data[KEY].dropna().unique())
        shades = sns.color_palette("viridis_r", len(sizes) + 1)[1:]
        looks = {n: Look(shades[k], MARKERS[k % len(MARKERS)]) for k, n in enumerate(sizes)}
        for axis, rows in zip(axes, algorithms.values(), strict=False):
            for size, runs in rows.groupby(KEY):
                draw_curve(axis, runs, results.criterion, looks[size], bound=False)
            finish(axis, results.criterion)
        same_height(axes)
        entries = {f"{number(n)} actions": handle(look) for n, look in looks.items()}
        layout.below(figure, entries, results.caveats, algorithms)
    return figure


PRESET = Preset(
    "Does the rate depend on the number of actions?",
    draw,
    "One curve per number of actions, each from one draw of a random game.",
)

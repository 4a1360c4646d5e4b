"""Games of human votes: their preferences and the convergence on them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from nlhf.analysis.figures import games, layout
from nlhf.analysis.figures.convergence import draw as draw_curve
from nlhf.analysis.figures.convergence import finish
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import handle, looks_of, marked, style
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure | None:
    """Preference matrices above, convergence below, a column per game."""
    data = results.study.rows
    with style():
        settings = dict(iter(data.groupby("setting", sort=True)))
        size = (layout.PANEL[0] * len(settings), 2.15 * layout.PANEL[1])
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(2, len(settings), squeeze=False)
        looks = looks_of(data)
        for (above, axis), (name, rows) in zip(grid.T, settings.items(), strict=True):
            game = games.matrix_of(Path(rows["folder"].iloc[0]))
            above.set_title(layout.wrapped(str(name)))
            if game is None:
                above.axis("off")
            else:
                games.draw_matrix(above, game)
            for method, runs in rows.groupby("method"):
                draw_curve(axis, runs, results.criterion, looks[str(method)])
            finish(axis, results.criterion)
        names = marked(looks, results.caveats)
        layout.below(figure, {names[name]: handle(look) for name, look in looks.items()}, results.caveats, looks)
    return figure


PRESET = Preset(
    "Are real human choices cyclic, and which algorithm solves their games?",
    draw,
    "Above, P(row preferred to column), from votes that are pooled over people and taken as independent, sorted by "
    "decreasing Bradley-Terry score; majorities of a cyclic triple are framed. The sentences below say whether "
    "chance explains such cycles. Below, exploitability against preference queries.",
    frozenset({"preferences"}),
)

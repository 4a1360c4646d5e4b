"""The cost to the target of every algorithm on games from transitive to cyclic."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.figures.comparison import heatmap
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure:
    """The heat map of games and methods."""
    return heatmap(results.summary, results.criterion, results.caveats)


PRESET = Preset(
    "Which algorithm needs the fewest queries, on games from transitive to cyclic?",
    draw,
    "Median preference queries to the target. A dash: half or more of the seeds spend their budget without reaching "
    "the target.",
    frozenset({"heatmap"}),
)

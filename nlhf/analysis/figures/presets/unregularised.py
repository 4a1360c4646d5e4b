"""Last iterate and average without a KL term."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.figures.overlaid import overlaid
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.results import Results

TITLES = {"exploitability": "last iterate", "average_exploitability": "average"}


def draw(results: Results) -> Figure:
    """The last iterate, solid, and the average, dashed, a panel per game."""
    return overlaid(results, TITLES)


PRESET = Preset(
    "Without a KL term: does the last iterate converge, or only the average?",
    draw,
    "Exploitability of the last iterate, solid, and of the average, dashed; medians over seeds.",
)

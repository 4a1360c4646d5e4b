"""What the votes of each asking rule certify, and what its policy loses."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.criterion import CERTIFIED
from nlhf.analysis.figures.overlaid import overlaid
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.results import Results

LOWEST = 1e-3
TITLES = {CERTIFIED: "certified", "exploitability": "true"}


def draw(results: Results) -> Figure | None:
    """The certified exploitability, solid, and the true one, dashed, a panel per game."""
    if CERTIFIED not in results.study.rows:
        return None
    return overlaid(results, TITLES, LOWEST)


PRESET = Preset(
    "Which pairs to ask about, so that few votes certify a policy?",
    draw,
    "Against the number of votes: the exploitability that the votes certify for the best certified policy, solid, and "
    "the true exploitability of that policy, dashed; medians over seeds. Values below 0.001 are drawn at 0.001.",
)

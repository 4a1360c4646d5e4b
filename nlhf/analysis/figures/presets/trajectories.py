"""The paths of policies over three actions."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.simplex import CAPTION, simplex
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure | None:
    """A simplex per run."""
    return simplex(results.runs, results.caveats)


PRESET = Preset("Where do policies move, and where do they converge?", draw, CAPTION, frozenset({"simplex"}))

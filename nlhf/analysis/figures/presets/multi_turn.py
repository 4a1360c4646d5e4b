"""Convergence of steps in every turn by itself and of steps of whole conversations."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.figures.preset import LINES, Preset
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure:
    """The curves of all methods, a panel per number of turns and beta."""
    return convergence(results.study.rows, results.criterion, results.caveats)


PRESET = Preset(
    "Do steps in every turn by itself converge as fast as steps of whole conversations?",
    draw,
    f"Random conversations of two and of four turns, two answers and two replies in each. {LINES}",
    frozenset({"convergence"}),
)

"""Convergence of steps in every turn by itself and of steps of whole conversations."""

from nlhf.analysis.figures.preset import LINES, Preset, curves

PRESET = Preset(
    "Do steps in every turn by itself converge as fast as steps of whole conversations?",
    curves,
    f"Random conversations of two and of four turns, two answers and two replies in each. {LINES}",
    frozenset({"convergence"}),
)

"""Convergence of perceptrons at the learning rates of EGPO's paper."""

from nlhf.analysis.figures.preset import LINES, Preset, curves_of_algorithms

PRESET = Preset(
    "How far do perceptrons come at the learning rates of EGPO's paper?",
    curves_of_algorithms("iteration"),
    f"Ten games of 100 actions behind one network: beta = 0.01 with exact expectations, 0.1 with samples. {LINES}",
    frozenset({"convergence"}),
)

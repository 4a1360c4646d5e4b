"""Convergence of EGPO, mirror descent and Nash-MD at the step sizes of EGPO's paper."""

from nlhf.analysis.figures.preset import LINES, Preset, curves_of_algorithms

PRESET = Preset(
    "Which methods converge at the step sizes of EGPO's matrix games?",
    curves_of_algorithms(),
    f"Random games with exact answers, at the same step size for all methods. {LINES}",
    frozenset({"convergence"}),
)

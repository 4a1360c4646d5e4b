"""Convergence of the gradient methods at the learning rates of EGPO's paper."""

from nlhf.analysis.figures.preset import LINES, Preset, curves_of_algorithms

PRESET = Preset(
    "How far do the gradient methods among EGPO's matrix games come at its learning rates?",
    curves_of_algorithms("iteration"),
    f"Gradient steps on exact expectations. The step of nash_md_pg is 4/beta times as short. {LINES}",
    frozenset({"convergence"}),
)

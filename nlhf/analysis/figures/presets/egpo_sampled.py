"""Convergence with sampled answers, at the step size of EGPO's paper."""

from nlhf.analysis.figures.preset import LINES, Preset, curves_of_algorithms

PRESET = Preset(
    "How close do sampled answers lead at the step size of EGPO's matrix games?",
    curves_of_algorithms(),
    f"Random games; all actions meet the same 20 sampled opponents in a query. {LINES}",
    frozenset({"convergence"}),
)

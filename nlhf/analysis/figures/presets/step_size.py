"""The cost to the target against the step size."""

from nlhf.analysis.figures.preset import BUDGET_SPENT, LINES, Preset, against_key

PRESET = Preset(
    "How sensitive is each algorithm to its step size, and up to which one does it converge?",
    against_key("algorithm.step_size", "cost"),
    f"{LINES} {BUDGET_SPENT}",
    frozenset({"step_size"}),
)

"""The final value against the optimiser's steps per proximal problem."""

from nlhf.analysis.figures.preset import LINES, Preset, against_key

PRESET = Preset(
    "How many gradient steps is a proximal problem worth, at an equal number of votes?",
    against_key("prox.inner_steps", "final"),
    f"The final value when the votes are spent, against the optimiser's steps per proximal problem. {LINES}",
)

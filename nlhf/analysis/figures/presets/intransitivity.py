"""The cost to the target against the cyclicity of the game."""

from nlhf.analysis.figures.preset import BUDGET_SPENT, LINES, Preset, against_key

PRESET = Preset(
    "How do cycles change the cost of each algorithm?",
    against_key("game.cyclicity", "cost"),
    f"From a transitive (0) to a cyclic (1) game. {LINES} {BUDGET_SPENT}",
)

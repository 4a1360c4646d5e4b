"""The final value against the reference's share in the opponent."""

from nlhf.analysis.figures.preset import LINES, Preset, against_key

PRESET = Preset(
    "How much of the reference should the opponent of Nash-MD-PG contain?",
    against_key("algorithm.mixture", "final"),
    "The final value when the queries are spent, against the reference's share in the geometric mixture that is the "
    f"opponent: 0 is self-play, 1 the best response to the reference. {LINES}",
)

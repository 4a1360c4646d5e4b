"""The final value against the position bias of the judge."""

from nlhf.analysis.figures.preset import LINES, Preset, against_key

PRESET = Preset(
    "How does a judge that favours the answer shown first affect each method?",
    against_key("feedback.position_bias", "final"),
    "The final value when the pairs are spent, against what the judge adds to the logit of the answer shown first. "
    "Pairs are shown in the algorithm's order, in a random one, or in both with the mean of the two verdicts. "
    f"{LINES}",
)

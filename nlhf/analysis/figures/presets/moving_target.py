"""The final value against the rate of a moving target."""

from nlhf.analysis.figures.preset import LINES, Preset, against_key

PRESET = Preset(
    "How fast may a moving target follow?",
    against_key("algorithm.rate", "final"),
    "The final value after 3,000 gradient steps, against the rate at which the target follows the policy. Anchored to "
    f"the target, nash_prox plays against itself, and nash_mp_ema against the target. {LINES}",
)

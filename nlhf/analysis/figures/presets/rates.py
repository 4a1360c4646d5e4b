"""The linear rate of every algorithm against beta."""

from nlhf.analysis.figures.preset import Preset, against_key

PRESET = Preset(
    "Does every algorithm converge at the rate of its theorem, for every beta?",
    against_key("beta", "rate"),
    "The linear rate fitted to the tail, against beta: the mean over seeds with its 95% interval; dashed, the rate "
    "that the theorem promises for KL(pi* || pi). A method without a linear tail has no point.",
    frozenset({"rate"}),
)

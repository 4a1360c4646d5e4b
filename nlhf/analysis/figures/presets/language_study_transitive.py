"""The win rate of language models against the reference in a study of several seeds."""

from __future__ import annotations

from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.presets.language_model import draw

PRESET = Preset(
    "Where the judge has a scalar reward, which method wins more against the reference per hour?",
    draw,
    "Completions of the test prompts, a curve for every seed: the share that the judge prefers to the reference's, and "
    "the estimated KL divergence, with 95% intervals over prompts.",
)

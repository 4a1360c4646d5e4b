"""The win rate of dialogues of a trained language model against its start, and its divergence from it."""

from __future__ import annotations

from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.presets.language_model import draw

PRESET = Preset(
    "Does a judge of complete dialogues prefer a language model that was trained on them?",
    draw,
    "Dialogues of two answers on test prompts: the share that the judge prefers to the reference's, and the estimated "
    "KL divergence of both answers, with 95% intervals over prompts.",
)

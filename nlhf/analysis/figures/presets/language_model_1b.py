"""The win rate and the divergence of a language model with about 1 billion parameters."""

from __future__ import annotations

from nlhf.analysis.figures.presets.language_model import PRESET as PRESET

"""Recorded pairs of a file as the model reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from nlhf.language.game import Text
    from nlhf.language.model import LanguageModel

log = logging.getLogger("nlhf")


def recorded_pairs(game: Text, model: LanguageModel, numbers: Sequence[int]) -> tuple[Tensor, ...]:
    """The pairs of the training prompts, see `nlhf.games.protocol.RecordedGame`, (1, N) each.

    Args:
        numbers: the lines or rows of the training prompts.

    Raises: ConfigError if no training prompt has a pair.
    """
    pairs = game.pairs
    positions = [position for position, number in enumerate(numbers) if number in pairs]
    if not positions:
        raise ConfigError("no training prompt has a recorded pair: give a smaller game.test_prompts, or other pairs.")
    chosen = [pairs[numbers[position]] for position in positions]
    sides = written(model, [pair.chosen for pair in chosen] + [pair.rejected for pair in chosen])
    gains = torch.tensor([[pair.share - 0.5 for pair in chosen]], dtype=torch.float64)
    rows = torch.tensor([positions]), torch.tensor([sides[: len(chosen)]]), torch.tensor([sides[len(chosen) :]])
    return tuple(tensor.to(model.device) for tensor in (*rows, gains))


def written(model: LanguageModel, texts: Sequence[str]) -> list[int]:
    """The numbers of completions that are given as texts; long ones are cut, with a warning."""
    tokens = [model.tokenised(text) for text in texts]
    longest = model.options.max_new_tokens
    if cut := sum(len(answer) > longest for answer in tokens):
        log.warning("%d of %d recorded completions are cut to policy.max_new_tokens=%d", cut, len(tokens), longest)
    return [model.number(answer[:longest]) for answer in tokens]

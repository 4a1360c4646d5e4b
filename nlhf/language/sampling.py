"""Sampling of completions, token by token, from a geometric mixture of models with one cache each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Mixture
    from nlhf.language.reading import Tokens


@torch.no_grad()
def sample(model: LanguageModel, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
    """A completion of every prompt; see `LanguageModel.sample`."""
    length, device = model.options.max_new_tokens, model.device
    levels = torch.from_numpy(_levels(uniforms, length)).to(device)
    exponents = [exponent for _, exponent in mixture]
    states = [model.read_prompts(weights, prompts) for weights, _ in mixture]
    logits = [state.logits for state in states]
    attention_mask, positions = states[0].attention_mask, states[0].last_positions
    active_rows = torch.arange(len(prompts), device=device)
    end_tokens = torch.tensor(model.end_tokens, device=device)
    completions = torch.full((len(prompts), length), model.end_tokens[0], device=device)
    for step in range(length):
        tokens = _draw(_mixed(logits, exponents), levels[active_rows, step], model.options.temperature,
                       model.options.top_p)  # fmt: skip
        completions[active_rows, step] = tokens
        unfinished = torch.isin(tokens, end_tokens, invert=True).nonzero()[:, 0]
        if not len(unfinished) or step + 1 == length:
            break
        if len(unfinished) < len(active_rows):
            for state in states:
                state.cache.reorder_cache(unfinished)
        active_rows, attention_mask = active_rows[unfinished], attention_mask[unfinished]
        attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(active_rows), 1)], 1)
        tokens, positions = tokens[unfinished, None], positions[unfinished] + 1
        logits = [
            model.forward(weights, tokens, attention_mask, positions, 1, state.cache).logits[:, -1]
            for (weights, _), state in zip(mixture, states, strict=True)
        ]
    return [_cut(row, model.end_tokens) for row in completions.tolist()]


def _levels(uniforms: np.ndarray, length: int) -> np.ndarray:
    """Numbers on [0, 1) for the tokens of every completion, (n, length), from one number each (n)."""
    return np.stack([np.random.default_rng(int(number * 2**53)).random(length) for number in uniforms])


def _draw(logits: Tensor, levels: Tensor, temperature: float, top_p: float) -> Tensor:
    """Tokens (n), drawn by inversion from the most likely tokens that hold `top_p` of the probability."""
    probabilities = (logits / temperature).softmax(-1).double()
    if top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        ordered = ordered.where(ordered.cumsum(-1) - ordered < top_p, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter_(-1, order, ordered)
    cumulative = probabilities.cumsum(-1)
    tokens = torch.searchsorted(cumulative, (levels * cumulative[:, -1])[:, None], right=True)[:, 0]
    return tokens.clamp(max=cumulative.shape[-1] - 1)


def _mixed(logits: Sequence[Tensor], exponents: Sequence[float]) -> Tensor:
    """Logits of the geometric mixture of models, up to a constant in each row."""
    if len(logits) == 1 and exponents[0] == 1:
        return logits[0]
    weighted = [
        exponent * values.log_softmax(-1, torch.promote_types(values.dtype, torch.float32))
        for values, exponent in zip(logits, exponents, strict=True)
    ]
    return torch.stack(weighted).sum(0)


def _cut(tokens: list[int], end_tokens: Sequence[int]) -> Tokens:
    """The tokens up to and including the first end token."""
    end = next((index for index, token in enumerate(tokens) if token in end_tokens), len(tokens))
    return tuple(tokens[: end + 1])

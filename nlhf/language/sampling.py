"""Sampling of completions, token by token, from a geometric mixture of models with one cache each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from nlhf.language.scoring import tempered

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Mixture
    from nlhf.language.reading import Tokens


BLOCK = 256  # tokens of the vocabulary whose probabilities are summed first


@torch.no_grad()
def sample(model: LanguageModel, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
    """A completion of every prompt; see `LanguageModel.sample`."""
    return scored_sample(model, mixture, prompts, uniforms)[0]


@torch.no_grad()
def scored_sample(
    model: LanguageModel, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray
) -> tuple[list[Tokens], Tensor]:
    """A completion of every prompt, and the sum of the log-probabilities that its tokens were drawn with, (n).

    `policy.top_p` restricts the draws; the log-probabilities are those without it.
    """
    length, device = model.options.max_new_tokens, model.device
    levels = torch.from_numpy(_levels(uniforms, length)).to(device)
    exponents = [exponent for _, exponent in mixture]
    states = [model.read_prompts(weights, prompts) for weights, _ in mixture]
    logits = [state.logits for state in states]
    attention_mask, positions = states[0].attention_mask, states[0].last_positions
    active_rows = torch.arange(len(prompts), device=device)
    end_tokens = torch.tensor(model.end_tokens, device=device)
    completions = torch.full((len(prompts), length), model.end_tokens[0], device=device)
    log_probs = tempered(model, logits[0]).new_zeros(len(prompts))
    for step in range(length):
        probabilities = tempered(model, _mixed(logits, exponents)).softmax(-1)
        tokens = _draw(probabilities, levels[active_rows, step], model.options.top_p)
        completions[active_rows, step] = tokens
        log_probs[active_rows] += probabilities.gather(-1, tokens[:, None])[:, 0].log()
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
    return [_cut(row, model.end_tokens) for row in completions.tolist()], log_probs


def _levels(uniforms: np.ndarray, length: int) -> np.ndarray:
    """Numbers on [0, 1) for the tokens of every completion, (n, length), from one number each (n)."""
    return np.stack([np.random.default_rng(int(number * 2**53)).random(length) for number in uniforms])


def _draw(probabilities: Tensor, levels: Tensor, top_p: float) -> Tensor:
    """Tokens (n), drawn by inversion from the most likely tokens that hold `top_p` of the probability."""
    if top_p < 1:
        ordered, order = probabilities.double().sort(-1, descending=True)
        ordered = ordered.where(ordered.cumsum(-1) - ordered < top_p, 0.0)
        probabilities = torch.zeros_like(ordered).scatter_(-1, order, ordered)
    return _inverse(probabilities, levels)


def _inverse(weights: Tensor, levels: Tensor) -> Tensor:
    """The first index (n) whose cumulative weight exceeds a share of the sum, from weights (n, size), in float64.

    The sums of blocks lead to a block, and only its weights are accumulated: a scan of a whole vocabulary is slow.
    """
    blocks = pad(weights, (0, -weights.shape[-1] % BLOCK)).view(len(weights), -1, BLOCK)
    sums = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    levels = (levels * sums[:, -1])[:, None]
    block = torch.searchsorted(sums, levels, right=True).clamp(max=sums.shape[-1] - 1)
    before = pad(sums, (1, 0)).gather(-1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, BLOCK))[:, 0].double().cumsum(-1)
    index = torch.searchsorted(inside, levels - before, right=True).clamp(max=BLOCK - 1)
    return (block * BLOCK + index)[:, 0].clamp(max=weights.shape[-1] - 1)


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

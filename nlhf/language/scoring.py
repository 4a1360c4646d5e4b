"""Log-probabilities of completions, in micro-batches that bound the memory of the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Tokens, Weights


def log_prob(
    model: LanguageModel, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
) -> Tensor:
    """log pi(y | x) of every row, (n), float32 or better, differentiable in `weights`; None is the base model.

    A micro-batch has `policy.micro_batch` rows. The backward pass computes its activations again, so any loss
    needs the memory of one micro-batch.
    """
    rows = list(zip(prompts, completions, strict=True))
    size = model.options.micro_batch
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    if weights is None or not torch.is_grad_enabled() or len(batches) == 1:
        return torch.cat([micro_batch(model, weights, batch) for batch in batches])
    scores = []
    for batch in reversed(batches):  # autograd starts with the node that was made last: with the first micro-batch
        views = {name: value.view_as(value) for name, value in weights.items()}  # sum the gradients of a micro-batch
        score = partial(micro_batch, model, views, batch)
        scores.append(checkpoint(score, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(scores[::-1])


def micro_batch(model: LanguageModel, weights: Weights | None, rows: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
    """The log-probabilities of one micro-batch of prompts and completions, (n)."""
    prompts, completions = zip(*rows, strict=True)
    state = model.read_prompts(weights, prompts)
    tokens, token_mask, _ = model.padded([()] * len(rows), completions)
    token_log_probs = _log_probs(state.logits[:, None], tokens[:, :1])
    length = tokens.shape[1]
    if length > 1:
        position_ids = state.last_positions + torch.arange(1, length, device=model.device)
        attention_mask = torch.cat([state.attention_mask, token_mask[:, :-1]], 1)
        output: Any = model.forward(weights, tokens[:, :-1], attention_mask, position_ids, length - 1, state.cache)
        token_log_probs = torch.cat([token_log_probs, _log_probs(output.logits, tokens[:, 1:])], 1)
    return (token_log_probs * token_mask).sum(-1)


def _log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of tokens, (n, length), from logits (n, length, vocabulary); float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)

"""Log-probabilities of completions, and their divergence from the base model, in micro-batches that bound the memory.

All are about the distribution that completions are drawn from at `policy.temperature`: the logits of the policy and of
the base model are divided by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nlhf.numerics import simplex

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Weights
    from nlhf.language.reading import Tokens


def log_prob(
    model: LanguageModel, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
) -> Tensor:
    """log pi(y | x) of every row, (n), float32 or better, differentiable in `weights`; None is the base model.

    The backward pass computes the activations of a micro-batch again if there are several, so any loss needs the
    memory of one micro-batch.
    """
    parts = batches(model, list(zip(prompts, completions, strict=True)))
    if weights is None or not torch.is_grad_enabled() or len(parts) == 1:
        return torch.cat([micro_batch(model, weights, batch) for batch in parts])
    scores = []
    for batch in reversed(parts):  # autograd starts with the node that was made last: with the first micro-batch
        views = {name: value.view_as(value) for name, value in weights.items()}  # sum the gradients of a micro-batch
        score = partial(micro_batch, model, views, batch)
        scores.append(checkpoint(score, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(scores[::-1])


def batches(model: LanguageModel, rows: Sequence[tuple[Tokens, Tokens]]) -> list[list[tuple[Tokens, Tokens]]]:
    """The rows in micro-batches, as long as `policy.micro_batch` and `policy.micro_batch_tokens` allow.

    Neighbours stay together, as they share prompts. A row that is longer than the limit is a micro-batch by itself.
    """
    limits = model.options.micro_batch or math.inf, model.options.micro_batch_tokens or math.inf
    parts: list[list[tuple[Tokens, Tokens]]] = []
    for row in rows:
        if parts and all(size <= limit for size, limit in zip(_size([*parts[-1], row]), limits, strict=True)):
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def _size(rows: Sequence[tuple[Tokens, Tokens]]) -> tuple[int, int]:
    """The numbers of rows and of tokens that the model reads for them, with padding."""
    prompts, completions = {prompt for prompt, _ in rows}, [completion for _, completion in rows]
    return len(rows), sum(len(side) * max(map(len, side)) for side in (prompts, completions))


@torch.no_grad()
def divergence_and_entropy(
    model: LanguageModel, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
) -> Tensor:
    """KL(pi || base model) and entropy of the next token, summed over the steps of every completion, (2, n), float64.

    For completions drawn from pi, the means are unbiased estimates of the divergence and the entropy of whole
    completions (the chain rule). No estimate of a divergence is negative, and its variance is smaller than that of
    log pi(y | x) - log base(y | x), as every step is an exact mean over the vocabulary.
    """
    parts = batches(model, list(zip(prompts, completions, strict=True)))
    return torch.cat([_steps(model, weights, rows) for rows in parts], -1)


def _steps(model: LanguageModel, weights: Weights | None, rows: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
    """`divergence_and_entropy` of one micro-batch, (2, n)."""
    total = torch.zeros((2, len(rows)), dtype=torch.float64, device=model.device)
    for policy, base in zip(_read(model, weights, rows), _read(model, None, rows), strict=True):
        log_policy, log_base = (logits.log_softmax(-1) for logits in (policy.logits, base.logits))
        for sums, steps in zip(total, (simplex.kl(log_policy, log_base), simplex.entropy(log_policy)), strict=True):
            sums += steps.double().clamp(min=0.0).where(policy.mask > 0, 0.0).sum(-1)
    return total


def micro_batch(model: LanguageModel, weights: Weights | None, rows: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
    """The log-probabilities of one micro-batch of prompts and completions, (n)."""
    steps = list(_read(model, weights, rows))
    apply: Any = _LogProbs.apply
    log_probs: Tensor = torch.cat([apply(step.logits, step.tokens) for step in steps], 1)
    return (log_probs * torch.cat([step.mask for step in steps], 1)).sum(-1)


class _Steps(NamedTuple):
    """Logits (n, length, vocabulary), float32 or better, and tokens and mask (n, length) of some steps."""

    logits: Tensor
    tokens: Tensor
    mask: Tensor


def _read(model: LanguageModel, weights: Weights | None, rows: Sequence[tuple[Tokens, Tokens]]) -> Iterator[_Steps]:
    """The first step of every completion, and then all others."""
    prompts, completions = zip(*rows, strict=True)
    state = model.read_prompts(weights, prompts)
    tokens, mask, _ = model.padded([()] * len(rows), completions)
    yield _Steps(tempered(model, state.logits[:, None]), tokens[:, :1], mask[:, :1])
    length = tokens.shape[1]
    if length > 1:
        position_ids = state.last_positions + torch.arange(1, length, device=model.device)
        attention_mask = torch.cat([state.attention_mask, mask[:, :-1]], 1)
        output: Any = model.forward(weights, tokens[:, :-1], attention_mask, position_ids, length - 1, state.cache)
        yield _Steps(tempered(model, output.logits), tokens[:, 1:], mask[:, 1:])


def tempered(model: LanguageModel, logits: Tensor) -> Tensor:
    """The logits that tokens are drawn with, float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    temperature = model.options.temperature
    return logits if temperature == 1 else logits / temperature


class _LogProbs(torch.autograd.Function):
    """Log-probabilities of tokens, (n, length), from logits (n, length, vocabulary).

    The backward pass allocates one tensor of the size of the logits, where autograd would allocate five.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor) -> Tensor:
        normaliser = logits.logsumexp(-1, keepdim=True)
        ctx.save_for_backward(logits, tokens, normaliser)
        return (logits.gather(-1, tokens[..., None]) - normaliser)[..., 0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        logits, tokens, normaliser = ctx.saved_tensors
        gradient = (logits - normaliser).exp_().mul_(-upstream[..., None])
        return gradient.scatter_add_(-1, tokens[..., None], upstream[..., None]), None

"""The features of an answer that a head reads: sentence embeddings, and a few numbers about its surface."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.judges.base import Answer
    from nlhf.judges.encoder import Encoder

SURFACE = (
    "log characters", "log words", "log lines", "list items", "digits", "sentence length", "distinct words", "refusal",
    "empty",
)  # fmt: skip
REFUSAL = re.compile(r"\b(as an ai|i cannot|i can't|i'm sorry|i am sorry|i'm unable|i am unable)\b", re.IGNORECASE)


def features(
    answers: Sequence[Answer], encoder: Encoder, with_surface: bool, tick: Callable[[int], None] = lambda _: None
) -> Tensor:
    """The features of answers, float32 (n, d).

    They are the completion's embedding and its product with the prompt's; with `with_surface` also the surface, its
    squares, and the cosine of both embeddings.
    """
    import torch

    row_of = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in answers))}
    prompts = encoder(list(row_of), tick)[[row_of[prompt] for prompt, _ in answers]]
    completions = encoder([text for _, text in answers], tick)
    product = prompts * completions
    parts = [completions, product]
    if with_surface:
        numbers = torch.from_numpy(surface(answers)).to(completions)
        parts += [numbers, numbers**2, product.sum(-1, keepdim=True)]
    return torch.cat(parts, -1)


def feature_scales(embedding_size: int, with_surface: bool, embedding: float) -> Tensor:
    """How fast each of `features` is learned, (d): `embedding` for embeddings and 1 for the surface."""
    import torch

    embeddings = torch.full((2 * embedding_size,), embedding)
    return torch.cat([embeddings, torch.ones((2 * len(SURFACE) + 1) * with_surface)])


def surface(answers: Sequence[Answer]) -> np.ndarray:
    """The numbers of SURFACE for every completion, float64 (n, 9)."""
    return np.array([_surface_of(text) for _, text in answers]).reshape(-1, len(SURFACE))


def _surface_of(text: str) -> list[float]:
    words = re.findall(r"\w+", text.lower())
    lines = [line for line in text.splitlines() if line.strip()]
    items = sum(bool(re.match(r"\s*([-*•]|\d+[.)])\s", line)) for line in lines)
    sentences = max(1, len(re.findall(r"[.!?](\s|$)", text)))
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        np.log1p(len(lines)),
        np.log1p(items),
        sum(character.isdigit() for character in text) / max(1, len(text)),
        np.log1p(len(words) / sentences),
        len(set(words)) / max(1, len(words)) ** 0.5,
        float(bool(REFUSAL.search(text))),
        float(not words),
    ]

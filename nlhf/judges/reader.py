"""What a head reads of answers: features, from a table or through an encoder that is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlhf.judges.encoder import SURFACE, Encoder, surface

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes


@dataclass(frozen=True)
class Reader:
    """Features of the answers of some votes: from a table, or through an encoder that is trained.

    Args:
        options: of the training.
        votes: whose answers.
        encoder: reads texts; its weights are trained where options say so.
        table: the features (n, d), or None where they change.
    """

    options: Training
    votes: TextVotes
    encoder: Encoder
    table: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, options: Training, votes: TextVotes, encoder: Encoder,
           tick: Callable[[int], None] = lambda _: None) -> Reader:  # fmt: skip
        """A reader, with its table where the encoder is frozen; `tick` hears how many texts were read."""
        if options.fine_tune:
            return cls(options, votes, encoder)
        with torch.no_grad():
            return cls(options, votes, encoder, features(votes.answers, encoder, options.surface, tick))

    def __call__(self, answers: np.ndarray) -> Tensor:
        """Features (n, d) of answers by number (n)."""
        if self.table is not None:
            return self.table[answers]
        known, back = np.unique(answers, return_inverse=True)
        return features([self.votes.answers[place] for place in known], self.encoder, self.options.surface)[back]

    @property
    def weight(self) -> Tensor:
        """How fast each feature is learned, (d)."""
        return weights(self.encoder.size, self.options.surface, self.options.embedding)

    def trainable(self) -> Reader:
        """A reader whose encoder is trained from the same start, or itself where none is."""
        if self.table is not None:
            return self
        twin = deepcopy(self.encoder)
        return Reader(self.options, self.votes, twin)


def features(answers: Sequence[tuple[str, str]], encoder: Encoder, with_surface: bool,
             tick: Callable[[int], None] = lambda _: None) -> Tensor:  # fmt: skip
    """What a head reads of answers, float32 (n, d): the completion's embedding, its product with the prompt's, and the
    surface with its squares and the cosine of both embeddings."""
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in answers))}
    asked = encoder(list(prompts), tick)[[prompts[prompt] for prompt, _ in answers]]
    told = encoder([text for _, text in answers], tick)
    parts = [told, asked * told]
    if with_surface:
        seen = torch.from_numpy(surface(answers)).to(told)
        parts += [seen, seen**2, (asked * told).sum(-1, keepdim=True)]
    return torch.cat(parts, -1)


def weights(size: int, with_surface: bool, embedding: float) -> Tensor:
    """How fast each of `features` is learned, (d)."""
    return torch.cat([torch.full((2 * size,), embedding), torch.ones((2 * len(SURFACE) + 1) * with_surface)])

"""The features of the answers of some votes: computed once, or through an encoder that is trained."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlhf.judges.features import feature_scales, features

if TYPE_CHECKING:
    from nlhf.judges.encoder import Encoder
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes


@dataclass(frozen=True)
class Reader:
    """Returns the features of answers by their numbers.

    Args:
        options: of the training.
        votes: with the answers.
        encoder: embeds texts; with `fine_tune`, its weights are trained.
        table: the features (n, d) of all answers; None if the encoder is trained.
    """

    options: Training
    votes: TextVotes
    encoder: Encoder
    table: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, options: Training, votes: TextVotes, encoder: Encoder, tick: Callable[[int], None] = lambda _: None
    ) -> Reader:
        """A reader, with its table if the encoder is frozen.

        Args:
            tick: called with the number of texts that were read.
        """
        if options.fine_tune:
            return cls(options, votes, encoder)
        with torch.no_grad():
            return cls(options, votes, encoder, features(votes.answers, encoder, options.surface, tick))

    def __call__(self, numbers: np.ndarray) -> Tensor:
        """Features (n, d) of the answers with these numbers (n)."""
        if self.table is not None:
            return self.table[numbers]
        distinct, inverse = np.unique(numbers, return_inverse=True)
        answers = [self.votes.answers[number] for number in distinct]
        return features(answers, self.encoder, self.options.surface)[inverse]

    @property
    def weight(self) -> Tensor:
        """How fast each feature is learned, (d)."""
        return feature_scales(self.encoder.size, self.options.surface, self.options.embedding)

    def trainable(self) -> Reader:
        """A reader with a copy of the encoder to train; the same reader if the encoder is frozen."""
        return self if self.table is not None else replace(self, encoder=deepcopy(self.encoder))

"""Heads: what is learned on top of the encoder. A head reads an answer once, and compares two readings in O(1).

    bradley_terry        logit P(a > b) = s(a) - s(b)                                     transitive, whatever is learned
    general_preference   logit P(a > b) = s(a) - s(b) + u(a)^T J u(b),  J^T = -J          arXiv:2410.02197
    pairwise_model       logit P(a > b) = g(a, b) - g(b, a)

J is block-diagonal with blocks [[0, 1], [-1, 0]]. The first two terms of the general preference are such a block on
(s, 1), so that the whole is one skew-symmetric form, and Bradley and Terry's model is among those that it can learn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Reads features of answers, and compares readings; logits are antisymmetric for any weights.

    Args:
        features: numbers of an answer.
        hidden: units of the layer that reads them; 0 reads them linearly.
        dimensions: numbers of a reading beside the score, even.
        dropout: of the features, in training.
    """

    def __init__(self, features: int, hidden: int, dimensions: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
        self.layer = nn.Sequential(nn.Linear(features, hidden), nn.GELU()) if hidden else nn.Identity()
        self.reading = nn.Linear(hidden or features, 1 + dimensions)

    def standardise(self, features: Tensor) -> None:
        """Take mean and spread of the features (n, d) of the answers that are trained on."""
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp(min=1e-6))

    def read(self, features: Tensor) -> Tensor:
        """Readings (n, 1 + dimensions) of features (n, d)."""
        plain = ((features - self.mean) / self.scale).clamp(-8, 8)
        found: Tensor = self.reading(self.layer(self.dropout(plain)))
        return found

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of P(first > second) for readings (..., 1 + dimensions)."""
        raise NotImplementedError


class BradleyTerry(Head):
    """A score of each answer."""

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return first[..., 0] - second[..., 0]


class GeneralPreference(Head):
    """A score, and a skew-symmetric form that can prefer in cycles."""

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        left, right = (side[..., 1:].unflatten(-1, (-1, 2)) for side in (first, second))
        turning = (left[..., 0] * right[..., 1] - left[..., 1] * right[..., 0]).sum(-1)
        return first[..., 0] - second[..., 0] + turning


class Pairwise(Head):
    """A score, and a network that reads both readings."""

    def __init__(self, features: int, hidden: int, dimensions: int, dropout: float) -> None:
        super().__init__(features, hidden, dimensions, dropout)
        width = max(hidden, 16)
        self.both = nn.Sequential(nn.Linear(2 * (1 + dimensions), width), nn.GELU(), nn.Linear(width, 1))

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        there, back = torch.cat([first, second], -1), torch.cat([second, first], -1)
        turning = self.both(there)[..., 0] - self.both(back)[..., 0]
        return first[..., 0] - second[..., 0] + turning


HEADS: dict[str, type[Head]] = {
    "bradley_terry": BradleyTerry, "general_preference": GeneralPreference, "pairwise_model": Pairwise,
}  # fmt: skip

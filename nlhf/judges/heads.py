"""Heads: the trained part on top of an encoder. A head reads each answer once, and compares two readings in O(1).

    bradley_terry        logit P(a > b) = s(a) - s(b)                           transitive for all weights
    general_preference   logit P(a > b) = s(a) - s(b) + u(a)^T J u(b)           J^T = -J, arXiv:2410.02197
    pairwise_model       logit P(a > b) = s(a) - s(b) + g(a, b) - g(b, a)

J is block-diagonal with blocks [[0, 1], [-1, 0]]. The first two terms are such a block on (s, 1), so the general
preference is one skew-symmetric form, and it contains the Bradley-Terry model. The score s is linear in the features.
Each group of voters may add its own weights, as groups have different tastes: some prefer long answers, others short
ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nlhf.judges.options import Training

ALL = 0  # the number of the group of all voters


class Head(nn.Module, ABC):
    """Reads features of answers and compares the readings; logits are antisymmetric for all weights.

    Args:
        features: number of features of an answer.
        voters: number of groups of voters.
        hidden: units of the hidden layer of the cyclic part; 0 for a linear one.
        dimensions: numbers of a reading beside the score, even.
        dropout: of the features, in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, voters: int, hidden: int, dimensions: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(features, 1, bias=False)
        self.own = nn.Embedding(voters + 1, features, padding_idx=None if voters else ALL)  # score weights by group
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.own.weight)
        layer = nn.Sequential(nn.Linear(features, hidden), nn.GELU()) if hidden else nn.Identity()
        self.reading = nn.Sequential(layer, nn.Linear(hidden or features, dimensions)) if dimensions else None

    def standardise(self, features: Tensor, weight: Tensor) -> None:
        """Standardise with the mean and the spread of the features (n, d) of the training answers.

        Args:
            weight: standard deviation of each feature after that, (d); the larger, the faster it is learned.
        """
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.scale.copy_(torch.where(spread < 1e-6, 1.0, spread) / weight)  # a constant feature keeps its scale

    def read(self, features: Tensor, groups: Tensor) -> Tensor:
        """Readings (n, 1 + dimensions) of features (n, d) for groups of voters (n)."""
        standard = self.dropout(((features - self.mean) / self.scale).clamp(-6, 6))
        score = self.score(standard) + (standard * self.own(groups)).sum(-1, keepdim=True)
        return score if self.reading is None else torch.cat([score, self.reading(standard)], -1)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of P(first > second) for readings (..., 1 + dimensions)."""
        return first[..., 0] - second[..., 0] + self.cyclic(first[..., 1:], second[..., 1:])

    @abstractmethod
    def cyclic(self, first: Tensor, second: Tensor) -> Tensor:
        """The part of the logits (...) that no score explains, antisymmetric."""


class BradleyTerry(Head):
    """A score of each answer."""

    def cyclic(self, first: Tensor, second: Tensor) -> Tensor:
        return first.new_zeros(())


class GeneralPreference(Head):
    """A score, and a skew-symmetric form that can prefer in cycles."""

    def cyclic(self, first: Tensor, second: Tensor) -> Tensor:
        return (first[..., 0::2] * second[..., 1::2] - first[..., 1::2] * second[..., 0::2]).sum(-1)


class Pairwise(Head):
    """A score, and a network that reads both readings."""

    def __init__(self, features: int, voters: int, hidden: int, dimensions: int, dropout: float) -> None:
        super().__init__(features, voters, hidden, dimensions, dropout)
        self.both = nn.Sequential(nn.Linear(2 * dimensions, 32), nn.GELU(), nn.Linear(32, 1))

    def cyclic(self, first: Tensor, second: Tensor) -> Tensor:
        forward, backward = self.both(torch.cat([first, second], -1)), self.both(torch.cat([second, first], -1))
        difference: Tensor = forward - backward
        return difference[..., 0]


HEADS: dict[str, type[Head]] = {
    "bradley_terry": BradleyTerry,
    "general_preference": GeneralPreference,
    "pairwise_model": Pairwise,
}


def untrained_head(options: Training, features: int, voters: int) -> Head:
    """A new head of the kind and size that the options name."""
    dimensions = 0 if options.judge == "bradley_terry" else options.dimensions
    return HEADS[options.judge](features, voters, options.hidden, dimensions, options.dropout)

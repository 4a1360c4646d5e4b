"""Heads: what is learned on top of the encoder. A head reads an answer once, and compares two readings in O(1).

    bradley_terry        logit P(a > b) = s(a) - s(b)                           transitive, whatever is learned
    general_preference   logit P(a > b) = s(a) - s(b) + u(a)^T J u(b)           J^T = -J, arXiv:2410.02197
    pairwise_model       logit P(a > b) = s(a) - s(b) + g(a, b) - g(b, a)

J is block-diagonal with blocks [[0, 1], [-1, 0]]. The first two terms are such a block on (s, 1), so that the general
preference is one skew-symmetric form, and Bradley and Terry's model is among those that it can learn. The score s is
linear in the features; each group of voters may add weights of its own, for people of different sources want different
things: some like long answers, others short ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALL = 0  # the number of the voters where no group is named


class Head(nn.Module):
    """Reads features of answers, and compares readings; logits are antisymmetric for any weights.

    Args:
        features: numbers of an answer.
        voters: groups of voters.
        hidden: units of the layer that reads what is not the score; 0 reads linearly.
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
        self.own = nn.Embedding(voters + 1, features, padding_idx=None if voters else ALL)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.own.weight)
        layer = nn.Sequential(nn.Linear(features, hidden), nn.GELU()) if hidden else nn.Identity()
        self.reading = nn.Sequential(layer, nn.Linear(hidden or features, dimensions)) if dimensions else None

    def standardise(self, features: Tensor, weight: Tensor) -> None:
        """Take mean and spread of the features (n, d) of the answers that are trained on; each is then as large as its
        `weight` (d), by which it is learned the faster."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.scale.copy_(torch.where(spread < 1e-6, 1.0, spread) / weight)  # what never varied tells little elsewhere

    def read(self, features: Tensor, voters: Tensor) -> Tensor:
        """Readings (n, 1 + dimensions) of features (n, d) by groups of voters (n)."""
        plain = self.dropout(((features - self.mean) / self.scale).clamp(-6, 6))
        score = self.score(plain) + (plain * self.own(voters)).sum(-1, keepdim=True)
        return score if self.reading is None else torch.cat([score, self.reading(plain)], -1)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of P(first > second) for readings (..., 1 + dimensions)."""
        return first[..., 0] - second[..., 0] + self.turning(first[..., 1:], second[..., 1:])

    def turning(self, first: Tensor, second: Tensor) -> Tensor:
        """The part of the logits (...) that no score explains, antisymmetric."""
        raise NotImplementedError


class BradleyTerry(Head):
    """A score of each answer."""

    def turning(self, first: Tensor, second: Tensor) -> Tensor:
        return first.new_zeros(())


class GeneralPreference(Head):
    """A score, and a skew-symmetric form that can prefer in cycles."""

    def turning(self, first: Tensor, second: Tensor) -> Tensor:
        return (first[..., 0::2] * second[..., 1::2] - first[..., 1::2] * second[..., 0::2]).sum(-1)


class Pairwise(Head):
    """A score, and a network that reads both readings."""

    def __init__(self, features: int, voters: int, hidden: int, dimensions: int, dropout: float) -> None:
        super().__init__(features, voters, hidden, dimensions, dropout)
        self.both = nn.Sequential(nn.Linear(2 * dimensions, 32), nn.GELU(), nn.Linear(32, 1))

    def turning(self, first: Tensor, second: Tensor) -> Tensor:
        there, back = self.both(torch.cat([first, second], -1)), self.both(torch.cat([second, first], -1))
        gap: Tensor = there - back
        return gap[..., 0]


HEADS: dict[str, type[Head]] = {
    "bradley_terry": BradleyTerry, "general_preference": GeneralPreference, "pairwise_model": Pairwise,
}  # fmt: skip

"""Distributions over actions at some contexts, for sampling and for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Protocol, Self

from nlhf.numerics import simplex

if TYPE_CHECKING:
    from torch import Tensor


class Distribution(Protocol):
    """Distributions at contexts (S, B); their actions need not be listed."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probabilities of actions (S, B, k)."""

    def announce(self, *actions: Tensor) -> None:
        """Expect that the log-probabilities of all these actions will be asked, so that one evaluation gives them."""

    def sample(self, uniforms: Tensor) -> Tensor:
        """Actions (S, B, k) from uniform numbers (S, B, k) on [0, 1)."""

    def detached(self) -> Self:
        """The same distributions without gradients."""

    def mixed(self, partner: Self, weight: Tensor) -> Self:
        """The distribution proportional to self^(1-weight) partner^weight; weight (S, 1, 1), any number."""

    def averaged(self, others: Sequence[Self], weights: Sequence[Tensor]) -> Distribution:
        """The distribution that draws from itself or another one with these weights, (S, 1, 1) each, itself first."""


@dataclass(frozen=True, eq=False)
class Categorical:
    """Distributions over listed actions: log-probabilities (S, B, Y)."""

    log_probabilities: Tensor

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probabilities.expand(len(actions), -1, -1).gather(-1, actions)  # seeds may share a table

    def announce(self, *actions: Tensor) -> None:
        pass

    def sample(self, uniforms: Tensor) -> Tensor:
        """Actions by inversion of the cumulative distribution function."""
        import torch

        mass = self.log_probabilities.detach().exp().cumsum(-1)
        levels = uniforms.to(mass) * mass[..., -1:]
        mass = mass.expand(len(levels), -1, -1).contiguous()  # seeds may share a table
        return torch.searchsorted(mass, levels, right=True).clamp_(max=mass.shape[-1] - 1)

    def detached(self) -> Categorical:
        return Categorical(self.log_probabilities.detach())

    def mixed(self, partner: Categorical, weight: Tensor) -> Categorical:
        first = self.log_probabilities
        return Categorical(simplex.geometric_mixture(first, partner.log_probabilities.to(first), weight.to(first)))

    def averaged(self, others: Sequence[Categorical], weights: Sequence[Tensor]) -> Categorical:
        first = self.log_probabilities
        tables = (first, *(other.log_probabilities.to(first) for other in others))
        terms = (table + weight.to(first).log() for table, weight in zip(tables, weights, strict=True))
        return Categorical(reduce(lambda total, term: total.logaddexp(term), terms))


def rows(table: Tensor, contexts: Tensor | None) -> Tensor:
    """The rows (S, B, Y) of a table (1 or S, X, Y) at contexts (S, B), or all of them."""
    if contexts is None:
        return table
    width = table.shape[-1]
    indices = simplex.stacked(contexts, *table.shape[:2])
    return table.reshape(-1, width).index_select(0, indices.reshape(-1)).view(*contexts.shape, width)

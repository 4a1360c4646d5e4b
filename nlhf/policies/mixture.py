"""Mixtures of policies: geometric, such as Nash-MD's opponent, and arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nlhf.numerics import simplex
from nlhf.policies.base import Policy
from nlhf.policies.distributions import Categorical

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.distributions import Distribution


@dataclass(frozen=True, eq=False)
class GeometricMixture(Policy):
    """The policy proportional to first^(1-weight) second^weight; weight (S, 1, 1), extrapolates outside [0, 1]."""

    first: Policy
    second: Policy
    weight: Tensor

    @cached_property
    def log_probabilities(self) -> Tensor:
        return simplex.geometric_mixture(self.first.log_probabilities, self.second.log_probabilities, self.weight)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Distribution:
        return self.first.at(contexts).mixed(self.second.at(contexts), self.weight)


@dataclass(frozen=True, eq=False)
class ArithmeticMixture(Policy):
    """The policy that draws from each of the `policies` with its weight; weights (S, 1, 1) sum to 1."""

    policies: tuple[Policy, ...]
    weights: tuple[Tensor, ...]

    @cached_property
    def log_probabilities(self) -> Tensor:
        first, *others = (Categorical(policy.log_probabilities) for policy in self.policies)
        return first.averaged(others, self.weights).log_probabilities

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Distribution:
        first, *others = (policy.at(contexts) for policy in self.policies)
        return first.averaged(others, self.weights)

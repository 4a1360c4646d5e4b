"""A table of log-probabilities: the policy of exact work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nlhf.policies.base import Policy, PolicyFamily

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TabularPolicy(Policy):
    """Log-probabilities (S, X, Y), normalised over the last dimension."""

    log_probabilities: Tensor


@dataclass(frozen=True)
class Tabular(PolicyFamily):
    """A table with one entry per seed, context and action; it starts at the reference."""

    provides: ClassVar[frozenset[str]] = frozenset({"enumerate"})

    def initial(self, log_reference: Tensor) -> Policy:
        return TabularPolicy(log_reference)

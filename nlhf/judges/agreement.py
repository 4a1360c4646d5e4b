"""Counts of how often opinions agree: a judge's in both orders of a pair, or those of an ensemble's voters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from nlhf.judges.asked import in_order
from nlhf.judges.digests import digest

if TYPE_CHECKING:
    from nlhf.judges.base import Pair

ORDERS = ("pairs_in_both_orders", "same_in_both_orders")
VOTERS = ("couples_of_voters", "agreeing_couples")
"""Names in an account: of the number of cases, and of those that agree."""


@dataclass
class Agreement:
    """The number of cases and of those that agree. A pair counts once, in whichever order it comes.

    Args:
        names: of both numbers in an account.
    """

    names: tuple[str, str]
    cases: int = 0
    agreeing: int = 0
    _counted: set[int] = field(default_factory=set)

    @property
    def account(self) -> dict[str, int]:
        """Both numbers by their names; empty without a case."""
        return dict(zip(self.names, (self.cases, self.agreeing), strict=True)) if self.cases else {}

    def add(self, pairs: Sequence[Pair], cases: np.ndarray, agreeing: np.ndarray) -> None:
        """Count the cases (n) and the agreeing ones (n) of the pairs that were not counted before."""
        for pair, case, agrees in zip(pairs, cases.tolist(), agreeing.tolist(), strict=True):
            name = digest(in_order(pair))
            if name not in self._counted:
                self._counted.add(name)
                self.cases, self.agreeing = self.cases + int(case), self.agreeing + int(agrees)

    def add_votes(self, pairs: Sequence[Pair], votes: np.ndarray) -> None:
        """Count the couples of voters that both prefer an answer; `votes` are signs (voters, n)."""
        products = np.array([first * second for first, second in combinations(votes, 2)]).reshape(-1, len(pairs))
        self.add(pairs, (products != 0).sum(0), (products > 0).sum(0))

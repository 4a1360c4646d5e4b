"""The pairs to vote on next, as the page of a file of votes shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nlhf.asking.base import next_batch
from nlhf.asking.certified import CERTIFIED
from nlhf.leaderboard.proof import MOST
from nlhf.leaderboard.units import Units

SHOWN = 3  # pairs in a sentence


@dataclass(frozen=True)
class NextPairs:
    """A batch of votes.

    Args:
        pairs: both items and the number of votes, the most votes first.
        unit: what is asked, in the plural.
    """

    pairs: list[tuple[str, str, int]]
    unit: str

    @property
    def sentence(self) -> str:
        """The pairs with the most votes."""
        total = sum(number for _, _, number in self.pairs)
        named = ", ".join(f"{a} against {b} ({number})" for a, b, number in self.pairs[:SHOWN])
        further_count = len(self.pairs) - SHOWN
        further = f", and {further_count} more pair{'s' * (further_count > 1)}" if further_count > 0 else ""
        return f"Ask for {total} {self.unit}: {named}{further}."


def next_pairs(
    items: Sequence[str], wins: np.ndarray | None, votes: np.ndarray, units: Units | None
) -> NextPairs | None:
    """The next batch that the certified rule asks for; None as `proof`.

    Args:
        wins: of the row's item, ties as halves, (n, n); None if rows are probabilities.
        votes: (n, n), symmetric.
        units: clusters whose votes count as single observations, or None.
    """
    if not 2 <= len(items) <= MOST:
        return None
    if units is not None:
        wins, votes = units.table(len(items))
    if wins is None:
        return None
    rule = replace(CERTIFIED, clustered=units is not None)
    numbers = rule.numbers(wins, votes, next_batch(votes.sum() / 2), np.random.default_rng(0))
    order = sorted(((int(numbers[i, j]), i, j) for i, j in np.argwhere(numbers)), key=lambda entry: (-entry[0], entry))
    unit = "votes" if units is None else f"votes, each with another value of {units.name}"
    return NextPairs([(items[i], items[j], number) for number, i, j in order], unit)

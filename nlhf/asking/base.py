"""An asking rule decides how many of the next votes each pair of items gets.

A rule sees counts only: the wins and the numbers of votes of every pair. The bounds of nlhf/stats/certified.py that
hold at any time stay valid whatever a rule asks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

SMALLEST_BATCH = 20
GROWTH = 0.03  # of the votes so far: the size of a later batch


@dataclass(frozen=True)
class AskingRule(ABC):
    """Base of all asking rules.

    Class attributes: `sources`, the arXiv numbers of the papers that the rule is from.
    """

    sources: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        """How many votes to cast next on each pair, whole numbers (n, n), that add up to `batch`.

        Only entries above the diagonal are positive.

        Args:
            wins: of the row's item, ties as halves, (n, n).
            votes: on each pair, (n, n), symmetric, zero on the diagonal.
            batch: the number of votes, at least 0.
            rng: breaks ties.
        """


def next_batch(total_votes: float, smallest: int = SMALLEST_BATCH, growth: float = GROWTH) -> int:
    """The size of the next batch: a part `growth` of the votes so far, but at least `smallest`.

    Example:
        >>> next_batch(100), next_batch(2000)
        (20, 60)
    """
    return max(smallest, round(growth * total_votes))


def filled(votes: np.ndarray, weights: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers of new votes that bring the votes of each pair as close to a multiple of its weight as they can.

    Like water in vessels of different widths: each pair whose weight is positive is filled up to the same level, votes
    per weight, and pairs above that level get nothing.

    Args:
        votes: on each pair, (n, n).
        weights: of each pair, (n, n); those above the diagonal are used. If all are zero, they count as equal.
        batch: the sum of the new votes.
        rng: decides which pairs get the votes that are left after rounding down.

    Returns: whole numbers (n, n) above the diagonal.

    Example:
        >>> votes, weights = np.array([[0, 4, 0], [4, 0, 1], [0, 1, 0]]), np.ones((3, 3))
        >>> filled(votes, weights, 3, np.random.default_rng(0))
        array([[0, 0, 2],
               [0, 0, 1],
               [0, 0, 0]])
    """
    numbers = np.zeros(votes.shape, dtype=np.int64)
    rows, columns = np.triu_indices(len(votes), 1)
    weight = weights[rows, columns]
    if not (weight > 0).any():
        weight = np.ones(len(rows))
    used = weight > 0
    rows, columns, weight = rows[used], columns[used], weight[used] / weight.max()
    present = votes[rows, columns]
    order = np.argsort(present / weight, kind="stable")
    levels = (batch + present[order].cumsum()) / weight[order].cumsum()  # if the first k pairs are filled
    level = levels[(levels >= (present / weight)[order]).nonzero()[0].max()]
    exact = np.maximum(level * weight - present, 0.0)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    shuffled = rng.permutation(len(exact))
    order = shuffled[np.argsort(-(exact - counts).round(9)[shuffled], kind="stable")]
    counts[order[: max(0, batch - counts.sum())]] += 1
    numbers[rows, columns] = counts
    return numbers

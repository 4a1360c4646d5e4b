"""Double Thompson sampling for dueling bandits (arXiv:1604.07101), a batch at a time.

Each vote is on a pair that two samples from the posterior Beta(W + 1, L + 1) of the preferences choose:

    first: of the items that may beat the most others, given the bounds W/N +- sqrt(alpha log t/N), the one that beats
           the most others in the first sample;
    second: of the items that do not surely beat the first, the one that the second sample prefers most to it.

The bandit may also compare an item with itself, which is not a vote: here the second is always another item. All pairs
of a batch are drawn from the posterior at its beginning. The method looks for a Copeland winner, not for a mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.asking.base import AskingRule
from nlhf.config import ConfigError


@dataclass(frozen=True)
class ThompsonRule(AskingRule):
    """Double Thompson sampling.

    Args:
        alpha: width of the confidence bounds, > 0.
    """

    alpha: float

    sources = ("1604.07101",)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(
                f"algorithm.rule.alpha={self.alpha} is out of range: give a positive number such as 0.51."
            )

    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        voted, n = votes > 0, len(votes)
        share = np.where(voted, wins / np.maximum(votes, 1), 0.5)
        radius = np.sqrt(self.alpha * np.log(max(2.0, votes.sum() / 2)) / np.maximum(votes, 1))
        different = ~np.eye(n, dtype=bool)
        may_win, surely_wins = different & (~voted | (share + radius > 0.5)), voted & (share - radius > 0.5)
        candidates = may_win.sum(1) == may_win.sum(1).max()
        sample = _posterior(wins, votes, batch, rng)
        beaten = (sample > 0.5).sum(2) + rng.random((batch, n)) / 2  # breaks ties
        first = np.where(candidates, beaten, -1.0).argmax(1)
        preferred = _posterior(wins, votes, batch, rng)[np.arange(batch), :, first]
        preferred = preferred - surely_wins[:, first].T - 2.0 * np.eye(n)[first]  # never the first; last, sure winners
        second = preferred.argmax(1)
        numbers = np.zeros(votes.shape, np.int64)
        np.add.at(numbers, (np.minimum(first, second), np.maximum(first, second)), 1)
        return numbers


def _posterior(wins: np.ndarray, votes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples of the preferences from their posterior, (count, n, n), 1/2 on the diagonal."""
    rows, columns = np.triu_indices(len(votes), 1)
    won = wins[rows, columns]
    sample = np.full((count, *votes.shape), 0.5)
    sample[:, rows, columns] = rng.beta(won + 1, votes[rows, columns] - won + 1, (count, len(rows)))
    sample[:, columns, rows] = 1 - sample[:, rows, columns]
    return sample

"""Votes on pairs, taken as independent: the decided votes, and redraws of them.

Ties are left out of tests: in Davidson's model of ties (On Extending the Bradley-Terry Model to Accommodate Ties, 1970)
the decided votes follow a Bradley-Terry model, whatever the rate of ties on each pair. A row that pools many votes may
hide ties; they then count as half a win for each item, which makes tests conservative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-6


@dataclass(frozen=True)
class Counts:
    """Decided votes on n items.

    Args:
        wins: of the row against the column, whole numbers, (n, n).
        ties: the number of ties on each pair, (n, n).
    """

    wins: np.ndarray
    ties: np.ndarray

    @property
    def decided(self) -> np.ndarray:
        """The number of decided votes on each pair, (n, n)."""
        return np.asarray(self.wins + self.wins.T)

    @property
    def preference(self) -> np.ndarray:
        """P of the decided votes, (n, n); 1/2 for pairs without any."""
        return np.asarray(np.divide(self.wins, self.decided, out=np.full(self.wins.shape, 0.5), where=self.decided > 0))

    def with_ties(self, wins: np.ndarray) -> np.ndarray:
        """P (..., n, n) of wins (..., n, n) in the decided votes, with ties as half wins."""
        total = np.broadcast_to(self.decided + self.ties, wins.shape)
        return np.asarray(np.divide(wins + self.ties / 2, total, out=np.full(wins.shape, 0.5), where=total > 0))

    def redrawn(self, preference: np.ndarray, redraws: int, seed: int = 0) -> np.ndarray:
        """Wins (R, n, n) in the decided votes, if the true preferences are `preference` (n, n)."""
        upper = np.triu_indices(len(self.wins), 1)
        number = self.decided[upper].astype(np.int64)
        drawn = np.zeros((redraws, *self.wins.shape))
        wins = np.random.default_rng(seed).binomial(number, preference[upper], (redraws, len(number)))
        drawn[:, upper[0], upper[1]] = wins
        drawn[:, upper[1], upper[0]] = number - wins
        return drawn


def counts_of(preference: np.ndarray, votes: np.ndarray | None) -> Counts | None:
    """The decided votes behind P (n, n); None if they are unknown or are not whole numbers and ties.

    Args:
        votes: (2, n, n), the number of votes on each pair and how many of them are ties.
    """
    if votes is None or not (votes[0] > 0).any():
        return None
    number, ties = votes
    wins = preference * number - ties / 2
    np.fill_diagonal(wins, 0.0)
    hidden = np.abs(wins % 1 - 0.5) < 0.25  # an odd number of ties that no row shows
    won = np.rint(wins - hidden / 2)
    if (np.abs(won + hidden / 2 - wins) > ROUNDING + 1e-12 * number).any() or (won < 0).any():
        return None
    return Counts(won, np.rint(ties) + hidden)

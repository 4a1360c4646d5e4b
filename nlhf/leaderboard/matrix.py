"""One preference matrix: its cycles, its Condorcet winner and its equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.leaderboard.nash import Nash, nash
from nlhf.stats.cyclic import Diagnosis, Triple, diagnose


@dataclass(frozen=True)
class Matrix:
    """A preference matrix of n items and what it shows.

    Args:
        name: of the context, or `all`.
        items: n names.
        preference: P, (n, n).
        votes: the number of votes.
        diagnosis: scores, cycles and their null distribution.
        winner: the item that is preferred to all others by strict majority, or None.
        nash: an equilibrium at beta = 0, and the range of all equilibria.
        unseen: the number of pairs without a vote, which count as even.
    """

    name: str
    items: tuple[str, ...]
    preference: np.ndarray
    votes: float
    diagnosis: Diagnosis
    winner: str | None
    nash: Nash
    unseen: int

    @property
    def triples(self) -> list[Triple]:
        """The cyclic triples."""
        return self.diagnosis.triples

    @property
    def mixture(self) -> str:
        """The equilibrium in words."""
        return self.nash.text(self.items)

    @property
    def unseen_pairs(self) -> str:
        """`3 of 10 pairs`, those without a vote."""
        n = len(self.items)
        return f"{self.unseen} of {n * (n - 1) // 2} pairs"


def matrix_of(
    name: str,
    items: Sequence[str],
    preference: np.ndarray,
    votes: np.ndarray,
    noise: np.ndarray | None = None,
    tested: bool = True,
) -> Matrix:
    """The analysis of a preference matrix P (n, n).

    Args:
        votes: (2, n, n), the number of votes on each pair, and how many of them are ties.
        noise: as in `diagnose`.
        tested: whether to compare cycles with chance.
    """
    beats = (preference > 0.5) | np.eye(len(items), dtype=bool)
    winners = np.flatnonzero(beats.all(1))
    winner = items[winners[0]] if len(winners) else None
    unseen = int((votes[0][np.triu_indices(len(items), 1)] == 0).sum())
    diagnosis = diagnose(preference, votes if tested else None, noise=noise)
    number = float(votes[0].sum() / 2)
    return Matrix(name, tuple(items), preference, number, diagnosis, winner, nash(preference), unseen)


def complete(votes: np.ndarray) -> np.ndarray:
    """True for each question on which every pair has a vote, (Q), for votes (Q, n, n)."""
    return np.asarray(((votes > 0) | np.eye(votes.shape[-1], dtype=bool)).all((1, 2)))

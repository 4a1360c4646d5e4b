"""One preference matrix: its cycles, its Condorcet winner and its equilibrium."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.leaderboard.cycles import Cycles
from nlhf.leaderboard.nash import Nash, equilibrium_range, nash
from nlhf.leaderboard.sensitivity import Sensitivity, sensitivity
from nlhf.stats.condorcet import possible_winners
from nlhf.stats.counted import counts_of
from nlhf.stats.cyclic import Diagnosis, Triple, assumption, diagnose
from nlhf.stats.transitivity import Transitivity, weak_transitivity
from nlhf.stats.vote_clusters import Clusters

MOST_RANGED = 40  # items up to which equilibria of bootstrap samples are computed


@dataclass(frozen=True)
class Matrix:
    """A preference matrix of n items and what it shows.

    Args:
        name: of the context, or `all`.
        items: n names.
        preference: P, (n, n).
        votes: the number of votes.
        diagnosis: scores, cycles and the test of a Bradley-Terry model.
        winner: the item that is preferred to all others by strict majority, or None.
        nash: the equilibrium at beta = 0 with the largest entropy, and the range of all equilibria.
        unseen: the number of pairs without a vote, which count as even.
        cycles: the Smith set and the strongest cycle.
        transitivity: the test of weak stochastic transitivity, or None.
        winners: the 95% confidence set of the Condorcet winner, or None if it is not known.
        mixtures: the range of 95% of the equilibria of bootstrap samples, (2, n), or None.
        counts: the number of votes on each pair, and how many of them are ties, (2, n, n).
        sensitivity: the equilibria for other strengths of regularisation and other payoffs, or None.
    """

    name: str
    items: tuple[str, ...]
    preference: np.ndarray
    votes: float
    diagnosis: Diagnosis
    winner: str | None
    nash: Nash
    unseen: int
    counts: np.ndarray
    cycles: Cycles
    transitivity: Transitivity | None = None
    winners: list[int] | None = None
    mixtures: np.ndarray | None = None
    sensitivity: Sensitivity | None = None

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

    @property
    def assumption(self) -> str:
        """Which votes are taken as independent, as the end of a sentence."""
        return assumption(self.diagnosis.clusters, self.diagnosis.cluster)

    @property
    def best_lines(self) -> Iterator[str]:
        """The sentences about the winner and the equilibrium."""
        first = f"Condorcet winner: {self.winner}" if self.winner else "No item is preferred to all others"
        yield f"{first}{self._possible}."
        yield from self.cycles.lines(self.assumption)
        yield f"Nash equilibrium at beta = 0: {self.mixture}."
        if self.sensitivity:
            yield from self.sensitivity.lines

    @property
    def _possible(self) -> str:
        """The confidence set of the winner, as the rest of a sentence."""
        if self.winners is None:
            return ""
        if not self.winners:
            return f"; the votes exclude every item as Condorcet winner with 95% confidence, {self.assumption}"
        names = ", ".join(self.items[k] for k in self.winners)
        return f"; with 95% confidence, a Condorcet winner is one of: {names}, {self.assumption}"


def matrix_of(
    name: str,
    items: Sequence[str],
    preference: np.ndarray,
    votes: np.ndarray,
    clusters: Clusters | None = None,
    counted: bool = True,
    samples: int = 0,
) -> Matrix:
    """The analysis of a preference matrix P (n, n).

    Args:
        votes: (2, n, n), the number of votes on each pair, and how many of them are ties.
        clusters: the same votes by cluster; None if votes are independent.
        counted: whether votes may be tested as independent votes; without clusters and this, nothing is tested.
        samples: the number of bootstrap samples whose equilibria are computed; 0 also leaves out `sensitivity`.
    """
    beats = (preference > 0.5) | np.eye(len(items), dtype=bool)
    candidates = np.flatnonzero(beats.all(1))
    winner = items[candidates[0]] if len(candidates) else None
    unseen = int((votes[0][np.triu_indices(len(items), 1)] == 0).sum())
    sample = preference, votes if counted else None, clusters
    return Matrix(
        name,
        tuple(items),
        preference,
        float(votes[0].sum() / 2),
        diagnose(*sample),
        winner,
        nash(preference),
        unseen,
        votes,
        Cycles.of(items, *sample),
        weak_transitivity(*sample),
        possible_winners(*sample),
        equilibrium_range(_resampled(*sample, samples)),
        sensitivity(items, preference) if samples else None,
    )


def complete(votes: np.ndarray) -> np.ndarray:
    """True for each question on which every pair has a vote, (Q), for votes (Q, n, n)."""
    return np.asarray(((votes > 0) | np.eye(votes.shape[-1], dtype=bool)).all((1, 2)))


def _resampled(
    preference: np.ndarray, votes: np.ndarray | None, clusters: Clusters | None, samples: int
) -> np.ndarray | None:
    """P (samples, n, n) of bootstrap samples of votes or clusters; None for no samples, no votes or too many items.

    The share of ties on each pair is that of the votes.
    """
    if not samples or len(preference) > MOST_RANGED:
        return None
    counts = counts_of(preference, votes)
    if clusters is not None:
        if not clusters.enough:
            return None
        ties = 0.0 if counts is None else counts.ties / np.maximum(counts.ties + counts.decided, 1)
        return np.asarray(0.5 + (clusters.resampled(samples) - 0.5) * (1 - ties))
    return None if counts is None else counts.with_ties(counts.redrawn(counts.preference, samples))

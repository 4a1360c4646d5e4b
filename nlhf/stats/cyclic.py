"""Cycles in votes: the Hodge decomposition of a preference matrix, and a transitive null.

With A = P - 1/2 and the potential s_i = mean_j A_ij, the gradient part is s_i - s_j and the rest is cyclic. The cyclic
share is the rest's share of |A|^2 (Hodge decomposition on the complete graph; X. Jiang et al., Statistical ranking and
combinatorial Hodge theory, 2011, arXiv:0811.1067). A deterministic chain of five items has a share of 20%, and few
votes inflate it, so it means nothing alone. It is compared with votes drawn from a Bradley-Terry model with the same
number of votes per pair. The number of ties is preserved if rows show it; in rows that pool many votes, ties count as
decided, which makes the null wider and the test conservative.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nlhf.numerics.bradley_terry import bradley_terry_scores, sigmoid
from nlhf.stats.text import shown_p

REDRAWS = 2000
RIDGE = 1e-3
EVEN = 1e-3  # shares that differ by less count as equal, because the fit's ridge moves them
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Diagnosis:
    """The cycles of one preference matrix of n items.

    Args:
        scores: Bradley-Terry scores, (n).
        triples: the triples (i, j, k) in which i beats j, j beats k and k beats i by strict majority.
        cyclic: share of |P - 1/2|^2 that no potential explains.
        null: the mean of `cyclic` over votes redrawn from the Bradley-Terry fit; nan if the votes are unknown.
        p: the share of redraws at least as cyclic, (1 + count)/(1 + redraws); nan if the votes are unknown.
    """

    scores: np.ndarray
    triples: list[Triple]
    cyclic: float
    null: float
    p: float

    @property
    def sentence(self) -> str:
        """The conclusion that these votes allow."""
        n = len(self.scores)
        count, total = len(self.triples), n * (n - 1) * (n - 2) // 6
        majority = f"{count} of {total} triples are cyclic by majority" if total else "two items make no cycle"
        if np.isnan(self.p):
            return f"{majority}; the votes are not known well enough to test this against chance."
        redrawn = (
            f"{self.cyclic:.3f} of |P - 1/2|² is cyclic, and {self.null:.3f} on average under a Bradley-Terry model"
        )
        if self.p >= 0.05:
            return f"{majority}; {redrawn} ({shown_p(self.p)}): these votes do not show that preferences are cyclic."
        verdict = (
            "this rejects a Bradley-Terry model, but not every transitive model"
            if count
            else ("this rejects a Bradley-Terry model, although every majority is transitive")
        )
        return f"{majority}; {redrawn} ({shown_p(self.p)}): {verdict}."


def diagnose(
    preference: np.ndarray, votes: np.ndarray | None = None, seed: int = 0, noise: np.ndarray | None = None
) -> Diagnosis:
    """The cycles of P (n, n) and their null distribution.

    Args:
        votes: (2, n, n), the votes behind each pair and how many of them are ties, or None.
        seed: of the redraws.
        noise: draws (R, n, n) of the error of P, skew-symmetric, if votes are dependent or are probabilities;
            the null is then the Bradley-Terry fit with that noise.
    """
    scores = bradley_terry_scores(preference, RIDGE, None if votes is None else votes[0])
    null = p = float("nan")
    cyclic = float(cyclic_share(preference))
    if votes is not None and (votes > 0).any():
        fit = sigmoid(scores[:, None] - scores)
        redrawn = cyclic_share(_redrawn(scores, votes, seed) if noise is None else np.clip(fit + noise, 0, 1))
        null, p = float(redrawn.mean()), float((1 + (redrawn >= cyclic - EVEN).sum()) / (1 + len(redrawn)))
    return Diagnosis(scores, cyclic_triples(preference), cyclic, null, p)


def pooled(wins: np.ndarray, votes: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """P (R, n, n) over questions with weights (R, Q), 1 by default; 1/2 for pairs without a vote.

    Args:
        wins, votes: of each pair on each question, (Q, n, n).
    """
    questions, n, _ = wins.shape
    weight = np.ones((1, questions)) if weight is None else weight
    won, cast = (weight @ table.reshape(questions, -1) for table in (wins, votes))
    return np.asarray(np.divide(won, cast, out=np.full_like(won, 0.5), where=cast > 0).reshape(-1, n, n))


def cyclic_share(preference: np.ndarray) -> np.ndarray:
    """Share of |P - 1/2|^2 outside the gradient part, (..., n, n) -> (...); 0 if all pairs are even."""
    advantage = (preference - np.swapaxes(preference, -1, -2)) / 2
    potential = advantage.mean(-1)
    gradient = potential[..., :, None] - potential[..., None, :]
    total = (advantage**2).sum((-1, -2))
    cyclic = ((advantage - gradient) ** 2).sum((-1, -2))
    return np.asarray(np.divide(cyclic, total, out=np.zeros_like(total), where=total > 0))


def cyclic_triples(preference: np.ndarray) -> list[Triple]:
    """Every triple that is a cycle by strict majority, in the direction in which each beats the next."""
    beats = preference > 0.5
    triples = []
    for i, j, k in combinations(range(len(preference)), 3):
        if beats[i, j] and beats[j, k] and beats[k, i]:
            triples.append((i, j, k))
        elif beats[j, i] and beats[k, j] and beats[i, k]:
            triples.append((i, k, j))
    return triples


def _redrawn(scores: np.ndarray, votes: np.ndarray, seed: int) -> np.ndarray:
    """Preference matrices (R, n, n) of votes redrawn from the Bradley-Terry model.

    Pairs without votes are even. Every other pair keeps its number of votes and of ties; its decided votes are drawn so
    that the expected share, ties included, is the model's.
    """
    n = len(scores)
    upper = np.triu_indices(n, k=1)
    number, ties = votes[0][upper], votes[1][upper]
    decided = np.rint(number - ties).astype(np.int64)
    expected = number * sigmoid(scores[:, None] - scores)[upper] - ties / 2
    chance = np.clip(expected / np.maximum(decided, 1), 0, 1)
    wins = np.random.default_rng(seed).binomial(decided, chance, size=(REDRAWS, len(number))) + ties / 2
    share = np.divide(wins, decided + ties, out=np.full(wins.shape, 0.5), where=decided + ties > 0)
    drawn = np.full((REDRAWS, n, n), 0.5)
    drawn[:, upper[0], upper[1]] = share
    drawn[:, upper[1], upper[0]] = 1 - share
    return drawn

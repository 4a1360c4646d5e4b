"""Are these votes cyclic? The pairs of one preference matrix, split, counted, and held against a transitive null.

With A = P - 1/2 and the potential s_i = mean_j A_ij, the gradient part is s_i - s_j and the rest is cyclic: its share
of |A|^2 is the cyclic energy (the Hodge split on the complete graph; X. Jiang et al., Statistical ranking and
combinatorial Hodge theory, 2011, arXiv:0811.1067). A deterministic chain of five has 20% of it and few votes inflate
it, so it says nothing alone: it is held against votes that a Bradley-Terry model with as many votes a pair would have
cast. Ties keep their number where rows tell them apart; in rows that pool many votes they count as decided, which makes
the null wider and the test conservative.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nlhf.numerics.bradley_terry import bradley_terry_scores, sigmoid
from nlhf.stats.text import shown_p

REDRAWS = 2000
RIDGE = 1e-3
EVEN = 1e-3  # shares that differ by less are the same: the fit's ridge moves them
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Diagnosis:
    """What one preference matrix of n items shows.

    Args:
        scores: Bradley-Terry scores, (n).
        triples: the triples (i, j, k) in which i beats j, j beats k and k beats i by strict majority.
        cyclic: share of |P - 1/2|^2 that no potential explains.
        null: the mean of `cyclic` over votes redrawn from the Bradley-Terry fit; nan where votes are not known.
        p: the share of redraws at least as cyclic, (1 + count)/(1 + redraws); nan where votes are not known.
    """

    scores: np.ndarray
    triples: list[Triple]
    cyclic: float
    null: float
    p: float

    @property
    def sentence(self) -> str:
        """What may be said of these votes, and no more."""
        n = len(self.scores)
        count, total = len(self.triples), n * (n - 1) * (n - 2) // 6
        majority = f"{count} of {total} triples are cyclic by majority" if total else "two items make no cycle"
        if np.isnan(self.p):
            return f"{majority}; nothing is said of chance, of which too little is known here."
        redrawn = f"{self.cyclic:.3f} of |P - 1/2|² is cyclic, {self.null:.3f} in votes of a Bradley-Terry model"
        if self.p >= 0.05:
            return f"{majority}; {redrawn} ({shown_p(self.p)}): these votes do not show that preferences are cyclic."
        verdict = (
            "not what a Bradley-Terry model casts; other transitive models are not excluded"
            if count
            else ("not what a Bradley-Terry model casts, yet every majority is transitive")
        )
        return f"{majority}; {redrawn} ({shown_p(self.p)}): {verdict}."


def diagnose(
    preference: np.ndarray, votes: np.ndarray | None = None, seed: int = 0, noise: np.ndarray | None = None
) -> Diagnosis:
    """Scores, cycles and their null for P (n, n).

    Args:
        votes: (2, n, n), the votes behind each pair and how many of them are ties, or None.
        seed: of redraws.
        noise: draws (R, n, n) of the error of P, skew-symmetric, where votes are not independent or are probabilities;
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
    """P (R, n, n) over questions that count `weight` times (R, Q), all of them once by default; 1/2 without a vote.

    Args:
        wins, votes: of each pair on each question, (Q, n, n).
    """
    questions, n, _ = wins.shape
    weight = np.ones((1, questions)) if weight is None else weight
    won, cast = (weight @ table.reshape(questions, -1) for table in (wins, votes))
    return np.asarray(np.divide(won, cast, out=np.full_like(won, 0.5), where=cast > 0).reshape(-1, n, n))


def cyclic_share(preference: np.ndarray) -> np.ndarray:
    """Share of |P - 1/2|^2 outside the gradient part, for (..., n, n) -> (...); 0 where all pairs are even."""
    advantage = (preference - np.swapaxes(preference, -1, -2)) / 2
    potential = advantage.mean(-1)
    gradient = potential[..., :, None] - potential[..., None, :]
    whole = (advantage**2).sum((-1, -2))
    rest = ((advantage - gradient) ** 2).sum((-1, -2))
    return np.asarray(np.divide(rest, whole, out=np.zeros_like(whole), where=whole > 0))


def cyclic_triples(preference: np.ndarray) -> list[Triple]:
    """Every triple that is a cycle by strict majority, in the direction in which each beats the next."""
    beats = preference > 0.5
    found = []
    for i, j, k in combinations(range(len(preference)), 3):
        if beats[i, j] and beats[j, k] and beats[k, i]:
            found.append((i, j, k))
        elif beats[j, i] and beats[k, j] and beats[i, k]:
            found.append((i, k, j))
    return found


def _redrawn(scores: np.ndarray, votes: np.ndarray, seed: int) -> np.ndarray:
    """Preference matrices (R, n, n) of as many votes and ties on every pair, the votes between them cast so that the
    share expected is that of the Bradley-Terry model; pairs without votes are even."""
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

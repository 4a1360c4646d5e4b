"""Cycles in votes: the Hodge decomposition of a preference matrix, and a test of the Bradley-Terry model.

With A = P - 1/2 and the potential s_i = mean_j A_ij, the gradient part is s_i - s_j and the rest is cyclic. The cyclic
share is the rest's share of |A|^2 (Hodge decomposition on the complete graph; X. Jiang et al., Statistical ranking and
combinatorial Hodge theory, 2011, arXiv:0811.1067). It is a description: a deterministic chain of five items has a share
of 20%, and few votes inflate it.

The test compares votes with a Bradley-Terry model by Pearson's sum of (wins - expected wins)^2 / variance over pairs.
Independent votes are redrawn with the same total wins of each item, so that the test is exact for any number of votes
(`same_wins`). Votes in clusters have residuals with random signs (`vote_clusters`), without the part of each residual
that moves the scores. Votes within a cluster are at least as variable as independent ones, so the larger of both
p-values counts: with rare wins, few clusters alone would reject too often.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nlhf.numerics.bradley_terry import bradley_terry_scores, sigmoid
from nlhf.stats.counted import Counts, counts_of
from nlhf.stats.same_wins import redrawn_with_same_wins
from nlhf.stats.text import shown_p
from nlhf.stats.vote_clusters import FEWEST, REDRAWS, Clusters, p_value, signs

RIDGE = 1e-3
LEAST_VARIANCE = 1e-9  # of the wins on a pair
EVEN = 1e-3  # shares that differ by less from the fit count as equal to it, because the ridge moves the fit
LARGEST = 1 << 24  # cells of redrawn tables; with more items there are fewer redraws
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Diagnosis:
    """The cycles of one preference matrix of n items.

    Args:
        scores: Bradley-Terry scores, (n).
        triples: the triples (i, j, k) in which i beats j, j beats k and k beats i by strict majority.
        cyclic: share of |P - 1/2|^2 that no potential explains.
        null: the mean of `cyclic` over votes redrawn under a Bradley-Terry model; nan if the votes are unknown.
        p: p-value of the Bradley-Terry model; nan if the votes are unknown, or in too few clusters.
        clusters: the number of clusters, 0 if votes are taken as independent.
        cluster: the columns that name a cluster.
    """

    scores: np.ndarray
    triples: list[Triple]
    cyclic: float
    null: float
    p: float
    clusters: int = 0
    cluster: str = ""

    @property
    def verdict(self) -> str:
        """The result of the test in one sentence."""
        if np.isnan(self.p):
            return "It is not tested whether scores explain the votes."
        if self.p >= 0.05:
            return f"The votes do not reject that scores explain them, a Bradley-Terry model ({shown_p(self.p)})."
        return f"Scores do not explain the votes, which reject a Bradley-Terry model ({shown_p(self.p)})."

    @property
    def sentence(self) -> str:
        """The conclusion that these votes allow."""
        n = len(self.scores)
        count, total = len(self.triples), n * (n - 1) * (n - 2) // 6
        majority = f"{count} of {total} triples are cyclic by majority" if total else "two items make no cycle"
        if np.isnan(self.p):
            reason = "the votes are not known well enough to test this against chance"
            return f"{majority}; {few_clusters(self.clusters, self.cluster) or reason}."
        redrawn = (
            f"{self.cyclic:.3f} of |P - 1/2|² is cyclic, and {self.null:.3f} on average under a Bradley-Terry model"
        )
        unit = assumption(self.clusters, self.cluster)
        if self.p >= 0.05:
            return (
                f"{majority}; {redrawn} ({shown_p(self.p)}): these votes do not reject a Bradley-Terry model, {unit}."
            )
        verdict = (
            "this rejects a Bradley-Terry model, but not every transitive model"
            if count
            else "this rejects a Bradley-Terry model, although every majority is transitive"
        )
        return f"{majority}; {redrawn} ({shown_p(self.p)}): {verdict}, {unit}."


def assumption(clusters: int, cluster: str) -> str:
    """The end of a sentence about a test: which votes are taken as independent."""
    return f"with votes clustered by {cluster} ({clusters} clusters)" if clusters else "if votes are independent"


def few_clusters(clusters: int, cluster: str) -> str:
    """The reason why votes are not tested, if they are in too few clusters."""
    if not 0 < clusters < FEWEST:
        return ""
    return f"votes clustered by {cluster} have only {clusters} clusters, and a test needs {FEWEST}"


def diagnose(
    preference: np.ndarray,
    votes: np.ndarray | None = None,
    clusters: Clusters | None = None,
    seed: int = 0,
    redraws: int = REDRAWS,
) -> Diagnosis:
    """The cycles of P (n, n) and the test of a Bradley-Terry model.

    Args:
        votes: (2, n, n), the votes behind each pair and how many of them are ties, or None.
        clusters: the same votes by cluster; None if votes are independent.
        seed: of the redraws.
        redraws: their number.
    """
    weight = votes[0] if votes is not None else clusters.total if clusters is not None else None
    scores = bradley_terry_scores(preference, RIDGE, weight)
    redraws = min(redraws, max(199, LARGEST // preference.size))
    tests = []
    if (counts := counts_of(preference, votes)) is not None:
        tests.append(_by_vote(counts, redraws, seed))
    if clusters is not None:
        tests = [*tests, _by_cluster(clusters, redraws, seed)] if clusters.enough else []
    p, null = max(tests, default=(float("nan"), float("nan")))
    groups = (len(clusters), clusters.name) if clusters is not None else (0, "")
    return Diagnosis(scores, cyclic_triples(preference), float(cyclic_share(preference)), null, p, *groups)


def _by_vote(counts: Counts, redraws: int, seed: int) -> tuple[float, float]:
    """The p-value of a Bradley-Terry model for independent votes, and the mean cyclic share of redraws."""
    decided = counts.decided
    fit = _fit(counts.preference, decided)
    variance = np.maximum(decided * fit * (1 - fit), LEAST_VARIANCE)
    drawn = redrawn_with_same_wins(counts.wins, redraws, np.random.default_rng(seed))
    misfit = [(((wins - decided * fit) ** 2) / variance).sum((-2, -1)) for wins in (counts.wins, drawn)]
    return p_value(float(misfit[0]), misfit[1]), float(cyclic_share(counts.with_ties(drawn)).mean())


def _by_cluster(clusters: Clusters, redraws: int, seed: int) -> tuple[float, float]:
    """The same for independent clusters."""
    n, total = clusters.total.shape[0], clusters.total
    fit = _fit(clusters.preference, total)
    i, j = np.triu_indices(n, 1)
    variance = np.maximum(total * fit * (1 - fit), LEAST_VARIANCE)
    information = np.diag(variance.sum(1) - np.diag(variance) + RIDGE) - variance * (1 - np.eye(n))
    residuals = clusters.residuals(fit)
    moved = np.linalg.solve(information, residuals.sum(2).T).T  # the scores that each cluster asks for
    unexplained = residuals[:, i, j] - variance[i, j] * (moved[:, i] - moved[:, j])
    sums = signs(len(clusters), redraws, seed) @ unexplained
    observed = float((unexplained.sum(0) ** 2 / variance[i, j]).sum())
    drawn = np.repeat(fit[None], len(sums), 0)
    errors = np.divide(sums, total[i, j], out=np.zeros_like(sums), where=total[i, j] > 0)
    drawn[:, i, j] += errors
    drawn[:, j, i] -= errors
    fits = bool((np.abs(unexplained.sum(0)) <= EVEN * total[i, j]).all())
    p = 1.0 if fits else p_value(observed, (sums**2 / variance[i, j]).sum(1))
    return p, float(cyclic_share(drawn).mean())


def _fit(preference: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """P of the Bradley-Terry model with the largest likelihood, (n, n)."""
    scores = bradley_terry_scores(preference, RIDGE, votes)
    return sigmoid(scores[:, None] - scores)


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

"""Bradley-Terry scores of votes with a covariance that holds whatever the true preferences are.

The scores maximise the likelihood, with a tie as half a win for each item. Where no scores explain the votes, as with
cycles, they estimate the scores that best fit infinitely many such votes (the pseudo-true scores). The sandwich
H^-1 (sum u u^T) H^-1, u the gradient of each independent vote or cluster, is right in both cases (P. Huber, 1967;
H. White, Econometrica 50:1, 1982). Gradients are those of `left_out`, the jackknife variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid
from nlhf.stats.bootstrap import FEWEST, LEVEL
from nlhf.stats.left_out import left_out_residuals
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.separation import Separation, further_votes, separation
from nlhf.stats.vote_clusters import FEWEST as FEWEST_CLUSTERS


@dataclass(frozen=True)
class Scores:
    """The scores of n items; those of each connected part have mean 0 over their finite ones.

    Args:
        scores: of maximum likelihood, (n); infinite or nan as in `Separation.extreme`.
        finite: the same, and for items without a finite score that of the fit with further votes, (n).
        covariance: of `finite`, (n, n).
        inverse: the inverse of the information of the fit, (n, n).
        freedom: degrees of freedom of Student's t; infinite for independent votes.
        separation: which scores are finite.
        measured: True for items with enough votes or clusters for an interval, (n).
    """

    scores: np.ndarray
    finite: np.ndarray
    covariance: np.ndarray
    inverse: np.ndarray
    freedom: float
    separation: Separation
    measured: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Standard errors (n)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0))

    @property
    def interval(self) -> np.ndarray:
        """The 95% intervals, (2, n); nan for items that are not measured."""
        half = quantile(self.freedom) * self.errors
        return self.ends(np.stack([self.finite - half, self.finite + half]))

    def ends(self, interval: np.ndarray) -> np.ndarray:
        """An interval (2, n) with the infinite end of infinite scores, and nan for items that are not measured."""
        low = np.where(self.scores == -np.inf, -np.inf, interval[0])
        high = np.where(self.scores == np.inf, np.inf, interval[1])
        return np.where(self.measured, np.stack([low, high]), np.nan)


def quantile(freedom: float) -> float:
    """The quantile of Student's t for 95% intervals; that of the normal distribution for infinite freedom."""
    tail = (1 + LEVEL) / 2
    return float(special.ndtri(tail) if np.isinf(freedom) else special.stdtrit(freedom, tail))


def fitted(votes: PairedVotes) -> Scores:
    """The scores of votes. Raises: ArithmeticError as `likelihood_scores`."""
    wins = votes.wins
    separated = separation(wins)
    number, square = further_votes(separated, votes.sizes)
    finite = likelihood_scores(wins + number / 2)
    expected = sigmoid(finite[:, None] - finite)
    inverse = np.linalg.inv(_information(wins + number / 2, expected, separated.parts))
    gradients = votes.contributions(left_out_residuals(votes, expected, inverse))
    spread = (gradients.T @ gradients).toarray() + _laplacian(square * (expected**2 + expected.T**2) / 2)
    centre = np.eye(len(wins)) - separated.anchors
    half = centre @ inverse
    units = votes.units
    correction = 1.0 if votes.cluster is None else (units - 1) / units
    fewest = FEWEST if votes.cluster is None else FEWEST_CLUSTERS
    measured = votes.units_of_items() >= fewest
    finite = centre @ finite
    return Scores(
        _maximum(wins, separated, finite),
        finite,
        correction * half @ spread @ half.T,
        inverse,
        float("inf") if votes.cluster is None else float(units - 1),
        separated,
        measured,
    )


def _maximum(wins: np.ndarray, separated: Separation, finite: np.ndarray) -> np.ndarray:
    """The scores of maximum likelihood."""
    core, scores = separated.core, separated.extreme.copy()
    if core.all():
        return finite
    if core.any():
        scores[core] = likelihood_scores(wins[np.ix_(core, core)])
    return scores


def _information(wins: np.ndarray, expected: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The information H of the fit, with the mean of each part fixed so that it can be inverted, (n, n)."""
    information = _laplacian((wins + wins.T) * expected * expected.T)
    same = parts[:, None] == parts
    return np.asarray(information + same / same.sum(1)[:, None] * max(np.trace(information) / len(wins), 1e-300))


def _laplacian(weights: np.ndarray) -> np.ndarray:
    """The sum of w_ij (e_i - e_j)(e_i - e_j)^T over pairs, for symmetric weights."""
    weights = weights - np.diag(np.diag(weights))
    return np.asarray(np.diag(weights.sum(1)) - weights)

"""Bradley-Terry scores with covariates of each vote:  P(a > b) = sigmoid(s_a - s_b + z . w)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.scores import quantile

STEPS = 50
ACCURACY = 1e-9
LARGEST = 30.0  # a coefficient beyond it counts as infinite: it changes odds by 1e13 within the range of a covariate


@dataclass(frozen=True)
class ControlledScores:
    """Scores of n items with mean 0, and coefficients of k covariates.

    Args:
        scores: (n).
        coefficients: (k).
        covariance: of both, the sandwich, (n + k, n + k).
        freedom: degrees of freedom of Student's t.
    """

    scores: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    freedom: float

    @property
    def intervals(self) -> np.ndarray:
        """The 95% intervals of scores and coefficients, (2, n + k)."""
        half = quantile(self.freedom) * np.sqrt(np.maximum(np.diag(self.covariance), 0))
        values = np.concatenate([self.scores, self.coefficients])
        return np.stack([values - half, values + half])


def controlled(votes: PairedVotes, covariates: np.ndarray) -> ControlledScores:
    """The fit of largest likelihood to votes without separation.

    Args:
        votes: a row for each vote.
        covariates: of the first item less those of the second, (R, k).

    Raises: ArithmeticError if a coefficient is infinite, or not determined.
    """
    n, rows = votes.items, len(votes.a)
    index = np.arange(rows)
    coordinates = np.concatenate([index, index]), np.concatenate([votes.a, votes.b])
    signs = sparse.csr_matrix((np.repeat([1.0, -1.0], rows), coordinates), (rows, n))
    design = sparse.hstack([signs, sparse.csr_matrix(covariates)], format="csr")
    level = np.zeros((design.shape[1],) * 2)
    level[:n, :n] = votes.votes.sum() / n**2
    fit = np.concatenate([likelihood_scores(votes.wins), np.zeros(covariates.shape[1])])
    fit, information = _maximum(design, votes, fit, level)
    residual = votes.votes * (votes.share - sigmoid(design @ fit))
    unit = index if votes.cluster is None else votes.cluster
    units = int(unit.max()) + 1
    gradients = sparse.csr_matrix((residual, (unit, index)), (units, rows)) @ design
    moves = np.linalg.solve(information, (gradients.T @ gradients).toarray())
    covariance = np.linalg.solve(information, moves.T) * units / (units - 1)
    freedom = float("inf") if votes.cluster is None else float(votes.units - 1)
    return ControlledScores(fit[:n], fit[n:], covariance, freedom)


def _maximum(
    design: sparse.csr_matrix, votes: PairedVotes, start: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and coefficients of largest likelihood, and their information, by damped Newton steps."""
    fit, n = start, votes.items
    for _ in range(STEPS):
        p = sigmoid(design @ fit)
        weight = sparse.diags(votes.votes * p * (1 - p))
        information = (design.T @ weight @ design).toarray() + level
        try:
            step = np.linalg.solve(information, design.T @ (votes.votes * (votes.share - p)))
        except np.linalg.LinAlgError as error:
            raise ArithmeticError("the votes do not determine the coefficients") from error
        spread = float(np.abs(design @ step).max())
        fit = fit + step * (np.log1p(spread) / spread if spread else 0.0)
        if not np.abs(fit[n:]).max() < LARGEST:
            raise ArithmeticError("a coefficient is infinite")
        if spread < ACCURACY:
            return fit, information
    raise ArithmeticError("Newton's method does not converge")

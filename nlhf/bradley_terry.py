"""The Bradley-Terry model: P(i > j) = sigmoid(s_i - s_j). Numpy alone."""

from __future__ import annotations

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1/(1 + e^-x), with sigmoid(x) + sigmoid(-x) = 1 to rounding and no overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits))


def bradley_terry_scores(preference: np.ndarray, ridge: float, votes: np.ndarray | None = None) -> np.ndarray:
    """Scores (n) that maximise  sum_ij V_ij P_ij log sigmoid(s_i - s_j) - ridge |s|^2/2,  by damped Newton steps.

    Args:
        preference: P (n, n).
        ridge: > 0 keeps the scores of items finite that win or lose against all others for certain.
        votes: V (n, n), how many votes are behind each pair; once each by default.
    """
    scores = np.zeros(len(preference))
    weight = np.ones_like(preference) if votes is None else votes
    wins = weight * preference

    def objective(s: np.ndarray) -> float:
        return float(-(wins * np.logaddexp(0, s - s[:, None])).sum() - ridge * (s @ s) / 2)

    for _ in range(100):
        expected = sigmoid(scores[:, None] - scores)
        gradient = (wins - weight * expected).sum(1) - ridge * scores
        curvature = weight * expected * (1 - expected)
        hessian = np.diag(curvature.sum(1) + ridge) - curvature
        step = np.linalg.solve(hessian, gradient)
        length, before = 1.0, objective(scores)
        while objective(scores + length * step) < before and length > 1e-6:
            length /= 2
        scores = scores + length * step
        if np.abs(length * step).max() < 1e-12:
            break
    return scores

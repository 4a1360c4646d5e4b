"""The Bradley-Terry model: P(i > j) = sigmoid(s_i - s_j)."""

from __future__ import annotations

import numpy as np

NEWTON_STEPS = 2000  # a score of 700, the logarithm of the largest ratio of two counts, takes about 700


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1/(1 + e^-x), with sigmoid(x) + sigmoid(-x) = 1 to rounding and no overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits))


def bradley_terry_scores(preference: np.ndarray, ridge: float, votes: np.ndarray | None = None) -> np.ndarray:
    """Scores (n) that maximise  sum_ij V_ij P_ij log sigmoid(s_i - s_j) - ridge |s|^2/2.

    Args:
        preference: P (n, n).
        ridge: > 0 keeps the scores of items finite that always win or always lose.
        votes: V (n, n), the number of votes on each pair; 1 by default.

    Raises: ArithmeticError as `likelihood_scores`.
    """
    return likelihood_scores(preference if votes is None else votes * preference, ridge)


def likelihood_scores(wins: np.ndarray, prior: float = 0.0) -> np.ndarray:
    """Scores (n) that maximise the likelihood of counted votes,  sum_ij W_ij log sigmoid(s_i - s_j) - prior |s|^2/2.

    Without a prior the scores of every connected part of the votes have mean 0.

    Args:
        wins: W (n, n), wins of the row against the column, >= 0; a tie counts as half a win for each.
        prior: precision of a normal prior on the scores, >= 0. At 0 the maximum exists if `unbounded` returns None.

    Raises: ArithmeticError if Newton's method does not converge, as for counts from 1 to 1e15 with a tiny prior.

    Example:
        >>> scores = likelihood_scores(np.array([[0.0, 7.0], [3.0, 0.0]]))
        >>> round(float(np.exp(scores[0] - scores[1])), 10)
        2.3333333333
    """
    scale = max(float(wins.max()), prior) or 1.0
    wins, prior = wins / scale, prior / scale
    parts = connected_parts(wins)
    free = np.ones(len(wins), dtype=bool)
    free[np.unique(parts, return_index=True)[1]] = False  # the first item of each part stays at 0 until the end
    level = prior * (np.eye(len(wins)) - (parts[:, None] == parts) / np.bincount(parts)[parts])
    scores, last = np.zeros(len(wins)), np.inf
    for _ in range(NEWTON_STEPS):
        gradient, curvature = _derivatives(wins, scores)
        hessian = np.diag(curvature.sum(1)) - curvature + level
        step = np.zeros_like(scores)
        try:
            step[free] = np.linalg.solve(hessian[free][:, free], (gradient - level @ scores)[free])
        except np.linalg.LinAlgError as error:
            raise ArithmeticError("counts differ too much in size") from error
        spread = float(np.ptp(step))
        if spread > 0:  # this length never overshoots: the logistic loss is self-concordant (F. Bach, arXiv:0910.4627)
            scores = scores + np.log1p(spread) / spread * step
        size = spread / (1 + float(np.abs(scores).max()))
        if size <= 1e-13 or (size <= 1e-8 and size > last / 2):  # only rounding is left
            return np.asarray(scores - (np.bincount(parts, scores) / np.bincount(parts))[parts])
        last = size
    raise ArithmeticError("Newton's method does not converge")


def _derivatives(wins: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (n) of the log-likelihood, and its curvature (n, n) in every pair."""
    logits = scores[:, None] - scores
    likely = np.exp(-np.logaddexp(0, -logits))  # accurate in relative terms at both ends
    return (wins * likely.T - wins.T * likely).sum(1), (wins + wins.T) * likely * likely.T


def connected_parts(wins: np.ndarray) -> np.ndarray:
    """The connected part (n) of each item; items of different parts were not compared, not even indirectly."""
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(wins + wins.T > 0, directed=False)[1])


def unbounded(wins: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """Why the likelihood of votes W (n, n) has no maximum (L. R. Ford, 1957); None if it has one.

    Returns: a smallest set of items that won every vote against other items (True), or lost every one (False).
    """
    from scipy.sparse.csgraph import connected_components

    beats = wins > 0
    count, labels = connected_components(beats, connection="strong")
    if count == len(np.unique(connected_parts(wins))):
        return None
    across = beats & (labels[:, None] != labels)
    loses, won = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    loses[labels[across.any(0)]] = True
    won[labels[across.any(1)]] = True
    size = np.where(won == loses, np.inf, np.bincount(labels))  # of the sets that only win or only lose
    smallest = int((size - won / 2).argmin())  # of equal ones a set that wins
    return np.flatnonzero(labels == smallest), bool(won[smallest])

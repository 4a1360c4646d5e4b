"""Residuals of votes from a Bradley-Terry fit without their own unit, to first order.

Leaving a unit with the rows X, the information D = diag(d) and the residuals r out of a fit with the information H
moves the scores by -(H - X^T D X)^-1 X^T r = -H^-1 X^T (I - D X H^-1 X^T)^-1 r. The sum of the squares of these moves
is the jackknife variance of the scores (CR3), which is accurate with fewer clusters than the plain sandwich
(J. MacKinnon, M. Nielsen, M. Webb, Cluster-robust inference: a guide to empirical practice, 2023, arXiv:2205.03285).
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.paired_votes import PairedVotes

CELLS = 1 << 22  # of the matrices that are solved at once
SLACK = 1e-3  # an item with the votes of one unit only has no fit without it


def left_out_residuals(votes: PairedVotes, expected: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """The residual of each row, divided by one minus the leverage of its unit, (R).

    Args:
        votes: the votes.
        expected: P of the fit, (n, n).
        inverse: H^-1, (n, n).
    """
    p = expected[votes.a, votes.b]
    residual = votes.share - p
    if votes.cluster is None:
        leverage = p * (1 - p) * _differences(inverse, votes.a, votes.b, votes.a, votes.b)
        return np.asarray(residual / (1 + SLACK - leverage))
    information = votes.votes * p * (1 - p)
    order = np.argsort(votes.cluster, kind="stable")
    numbers = np.bincount(votes.cluster)
    first = np.concatenate([[0], np.cumsum(numbers)[:-1]])
    result = np.empty(len(p))
    for number in np.unique(numbers[numbers > 0]):
        rows = order[first[numbers == number][:, None] + np.arange(number)]
        step = max(1, CELLS // (min(number, votes.items) * max(number, votes.items)))
        for k in range(0, len(rows), step):
            block = rows[k : k + step]
            solve = _by_rows if number <= votes.items else _by_items
            result[block] = solve(votes, block, information[block], residual[block], inverse)
    return result


def _by_rows(
    votes: PairedVotes, rows: np.ndarray, information: np.ndarray, residual: np.ndarray, inverse: np.ndarray
) -> np.ndarray:
    """(I - D X H^-1 X^T)^-1 of V r, divided by V, the number of votes, for clusters of k rows, (C, k)."""
    a, b, number = votes.a[rows], votes.b[rows], votes.votes[rows]
    gram = _differences(inverse, a[:, :, None], b[:, :, None], a[:, None], b[:, None])
    system = (1 + SLACK) * np.eye(rows.shape[1]) - information[:, :, None] * gram
    return np.asarray(np.linalg.solve(system, (number * residual)[:, :, None])[:, :, 0] / number)


def _by_items(
    votes: PairedVotes, rows: np.ndarray, information: np.ndarray, residual: np.ndarray, inverse: np.ndarray
) -> np.ndarray:
    """The same by matrices of the items: (I - D X G X^T)^-1 = I + D X (G^-1 - X^T D X)^-1 X^T with G = H^-1."""
    n, number = votes.items, votes.votes[rows]
    clusters = np.repeat(np.arange(len(rows)), rows.shape[1])
    a, b = votes.a[rows].ravel(), votes.b[rows].ravel()
    removed, gradient = np.zeros((len(rows), n, n)), np.zeros((len(rows), n))
    for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
        np.add.at(removed, (clusters, i, j), sign * information.ravel())
    for i, sign in ((a, 1), (b, -1)):
        np.add.at(gradient, (clusters, i), sign * (number * residual).ravel())
    moved = np.linalg.solve((1 + SLACK) * np.linalg.inv(inverse) - removed, gradient[:, :, None])[:, :, 0]
    shift = (moved[clusters, a] - moved[clusters, b]).reshape(rows.shape)
    return np.asarray((number * residual + information * shift) / number / (1 + SLACK))


def _differences(
    inverse: np.ndarray, a: np.ndarray, b: np.ndarray, other_a: np.ndarray, other_b: np.ndarray
) -> np.ndarray:
    """The entries of X H^-1 X^T for rows of X that are +1 at a and -1 at b."""
    of_a, of_b = inverse[a, other_a] - inverse[a, other_b], inverse[b, other_a] - inverse[b, other_b]
    return np.asarray(of_a - of_b)

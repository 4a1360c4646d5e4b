"""Von Neumann winners, the equilibria at beta = 0: a linear programme, and a test whether the winner is unique."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SLACK = 1e-9  # values below it count as zero in the test of uniqueness


def winner(matrix: np.ndarray) -> np.ndarray:
    """The solution p (n) of: minimise w subject to A p <= w on the simplex. A (n, n) is skew-symmetric."""
    from scipy.optimize import linprog

    n = len(matrix)
    matrix = _scaled(matrix)
    solution = linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=np.c_[matrix, -np.ones(n)],
        b_ub=np.zeros(n),
        A_eq=np.r_[np.ones(n), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method="highs-ds",
    )
    if solution.x is None:
        return np.full(n, 1 / n)
    policy: np.ndarray = np.maximum(solution.x[:n], 0)
    policy /= policy.sum()
    support = np.flatnonzero(policy > SLACK)
    polished = np.zeros(n)
    system = np.r_[matrix[np.ix_(support, support)], np.ones((1, len(support)))]
    polished[support] = np.linalg.lstsq(system, np.r_[np.zeros(len(support)), 1.0], rcond=None)[0]
    if (polished >= 0).all() and (matrix @ polished).max() <= max((matrix @ policy).max(), 1e-15):
        policy = polished / polished.sum()
    return policy


def unique_winners(advantage: Tensor, policy: Tensor) -> Tensor:
    """True if a von Neumann winner (B, n) is certified to be the only one of its game (B, n, n); shape (B).

    With S the support, p is the only equilibrium if (A p)_y < 0 outside S and the kernel of A_SS is a line: any other
    equilibrium q has q^T A p = 0, hence its support in S, hence A_SS q = 0.
    """
    pairs = zip(advantage.numpy(), policy.numpy(), strict=True)
    return torch.tensor([_is_unique(_scaled(matrix), winner) for matrix, winner in pairs])


def _is_unique(matrix: np.ndarray, policy: np.ndarray) -> bool:
    support = np.flatnonzero(policy > SLACK)
    if not len(support):
        return False
    singular = np.linalg.svd(matrix[np.ix_(support, support)], compute_uv=False)
    line = len(support) == 1 or singular[-2] > SLACK
    outside = np.delete(matrix @ policy, support)
    return bool(line and (outside < -SLACK).all())


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """A matrix scaled to a largest entry of 1, since the tolerances of the solver and SLACK are absolute."""
    return np.asarray(matrix / (float(np.abs(matrix).max()) or 1.0))

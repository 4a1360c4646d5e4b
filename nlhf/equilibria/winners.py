"""Von Neumann winners, the equilibria at beta = 0.

An interior point (nlhf/equilibria/interior.py) shows which actions some equilibrium plays; linear equations on these
actions then give its probabilities to rounding. Games that the method does not solve go to a linear programme.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria.interior import central_points, interior_points, solve_all
from nlhf.equilibria.uniqueness import blocks, by_size, certified_unique, scaled

log = logging.getLogger(__name__)

ROUNDING = 1e-15  # gain against a policy that rounding explains, relative to the largest advantage
SOLVED = 1e-13  # gain up to which an interior point is accepted
LARGEST_CHANGE = 1e-8  # of a probability, by equations that are not singular
RANK = 1e-12  # singular values below it, relative to the largest, count as zero


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a game that fails keeps its last finite point
def winners(advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Von Neumann winners (B, n) of games (B, n, n), and whether they are certified to be the only ones, (B).

    If there are several, the one at the analytic centre: see `interior`.
    """
    matrix = scaled(advantage.numpy())
    point, margin = interior_points(matrix)
    policy = _polished(matrix, point > margin, point, point)
    unique = certified_unique(matrix, policy)
    several = np.flatnonzero(~unique)
    if len(several):
        games, support = matrix[several], (point > margin)[several]
        policy[several] = _polished(games, support, central_points(games), policy[several])
    if not (_gain(matrix, policy) <= SOLVED).all():
        policy = _with_programmes(matrix, policy)
        unique = certified_unique(matrix, policy)
    return torch.from_numpy(policy), torch.from_numpy(unique)


def _polished(matrix: np.ndarray, support: np.ndarray, start: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """The solutions of A_SS p_S = 0 nearest to `start` (B, n), on supports S; `fallback` where these lose accuracy."""
    policy = np.zeros_like(start)
    for rows, chosen in by_size(support):
        near, size = start[rows[:, None], chosen], chosen.shape[1]
        system = np.ones((len(rows), size + 1, size + 1))
        system[:, :-1, :-1], system[:, -1, -1] = blocks(matrix, rows, chosen), 0
        right = np.empty((len(rows), size + 1, 1))
        right[:, :-1, 0], right[:, -1, 0] = (system[:, :-1, :-1] @ near[..., None])[..., 0], near.sum(-1) - 1
        change = solve_all(system, right)
        singular = ~(np.abs(change).max((1, 2)) <= LARGEST_CHANGE)
        if singular.any():  # there is more than one solution
            change[singular] = _smallest_solutions(system[singular], right[singular])
        policy[rows[:, None], chosen] = near - change[:, :-1, 0]
    policy /= policy.sum(-1, keepdims=True)
    accepted = (policy >= 0).all(-1) & (_gain(matrix, policy) <= np.maximum(_gain(matrix, fallback), ROUNDING))
    return np.where(accepted[:, None], policy, fallback)


def _smallest_solutions(systems: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solutions of least norm of singular systems (B, n, n) x = (B, n, 1)."""
    tensors = torch.from_numpy(systems), torch.from_numpy(right)
    return np.asarray(torch.linalg.lstsq(*tensors, rcond=RANK, driver="gelsd").solution)


def _gain(matrix: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """max_y (A p)_y, (B)."""
    return np.asarray((matrix @ policy[..., None])[..., 0].max(-1))


def _with_programmes(matrix: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """Policies (B, n), with the solution of a linear programme where that is better than a policy that fails."""
    rows = np.flatnonzero(~(_gain(matrix, policy) <= SOLVED))
    log.warning(
        "the interior point method did not solve %d of %d games at beta=0: linear programmes (HiGHS) replace it there",
        len(rows),
        len(matrix),
    )
    programmes = np.stack([linear_programme(matrix[row]) for row in rows])
    better = ~(_gain(matrix[rows], policy[rows]) <= _gain(matrix[rows], programmes))
    policy[rows[better]] = programmes[better]
    return policy


def linear_programme(matrix: np.ndarray) -> np.ndarray:
    """The solution p (n) of: minimise w subject to A p <= w on the simplex; uniform if the solver fails."""
    from scipy.optimize import linprog

    n = len(matrix)
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
    return np.asarray(policy / policy.sum())

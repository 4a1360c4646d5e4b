"""The policy whose largest bound over all opponents is as small as possible, for two kinds of bounds."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

ACCURACY = 2e-3  # of the smallest maximum, relative; the policy is exact, so every bound of it is valid
FINEST = 1e-5  # absolute accuracy below which nothing is gained
STEPS = 200  # of Newton's method, at most
SHARPER = 8.0  # factor of the barrier's weight from one centre to the next
SHORTEST = 1e-9  # part of a step of Newton's method
CENTRED = 0.25  # squared Newton decrement of a policy that is close enough to the centre


def linear_minimax(rows: np.ndarray) -> np.ndarray:
    """The probabilities q (n) that minimise the largest of rows @ q, a linear programme."""
    count, n = rows.shape
    solution = linprog(
        np.append(np.zeros(n), 1.0),
        np.column_stack([rows, -np.ones(count)]),
        np.zeros(count),
        np.append(np.ones(n), 0.0)[None],
        [1.0],
        [(0, None)] * n + [(None, None)],
    )
    q = np.maximum(solution.x[:n], 0.0)
    return np.asarray(q / q.sum())


def conic_minimax(rows: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The probabilities q (n) that minimise the largest of rows @ q + sqrt(spread @ q^2), up to ACCURACY.

    A second-order cone programme in q and the maximum s, by Newton's method on the self-concordant barrier

        weight s - sum_y log((s - rows_y q)^2 - spread_y q^2) - sum_j log q_j

    (Y. Nesterov and A. Nemirovskii, Interior-Point Polynomial Algorithms in Convex Programming, 1994). At its centre s
    is above the minimum by at most 3 n / weight, as each cone has parameter 2 and each sign constraint parameter 1.

    Args:
        rows: (n, n).
        spread: not negative, (n, n).
    """
    n = len(rows)
    point = np.full(n + 1, 1 / n)
    point[n] = (rows @ point[:n] + np.sqrt(spread @ point[:n] ** 2)).max() + 1 / n
    weight, system = 3.0 * n, np.zeros((n + 2, n + 2))
    system[n + 1, :n] = system[:n, n + 1] = 1.0
    for _ in range(STEPS):
        gradient, hessian = _barrier(rows, spread, point)
        gradient[n] += weight
        system[: n + 1, : n + 1] = hessian
        step = np.linalg.solve(system, np.append(-gradient, 0.0))[: n + 1]
        decrement = -float(gradient @ step)
        if decrement < CENTRED:
            if 3 * n / weight <= ACCURACY * abs(point[n]) + FINEST:
                break
            weight *= SHARPER
            continue
        length = 1.0
        while length > SHORTEST and not _inside(rows, spread, point + length * step):
            length *= 0.7
        if length <= SHORTEST:  # rounding
            break
        point = point + (length if length == 1.0 else 0.9 * length) * step
    q = point[:n]
    return np.asarray(q / q.sum())


def _barrier(rows: np.ndarray, spread: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient (n + 1) and the Hessian (n + 1, n + 1) of the barrier."""
    n = len(rows)
    q = point[:n]
    above = point[n] - rows @ q
    scaled = spread * q
    cone = above**2 - scaled @ q
    slopes = np.column_stack([-rows, np.ones(n)])  # of `above`
    inner = above[:, None] * slopes
    inner[:, :n] -= scaled
    inner *= 2 / cone[:, None]
    gradient = -inner.sum(0)
    gradient[:n] -= 1 / q
    hessian = inner.T @ inner - slopes.T @ (slopes * (2 / cone)[:, None])
    hessian[np.arange(n), np.arange(n)] += 2 * (spread / cone[:, None]).sum(0) + 1 / q**2
    return gradient, hessian


def _inside(rows: np.ndarray, spread: np.ndarray, point: np.ndarray) -> bool:
    """True if the probabilities are positive and the maximum exceeds every bound."""
    q = point[:-1]
    if q.min() <= 0:
        return False
    above = point[-1] - rows @ q
    return bool(above.min() > 0 and (above**2 > spread @ q**2).all())

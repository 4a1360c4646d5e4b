"""An interior point method for symmetric zero-sum games: equilibria at beta = 0.

The game of a skew-symmetric A is a linear programme that is its own dual. Its central path consists of the points

    p_y s_y = mu,      s = nu - A p >= 0,      sum p = 1,      nu = n mu,

and as mu falls to 0, p tends to the analytic centre of the equilibria: of all equilibria, the one with the largest
product of the probabilities p_y of the actions that some equilibrium plays and of the margins s_y of all others. Each
step follows the path by Mehrotra's predictor and corrector (SIAM J. Optim. 2, 1992), with one LU factorisation of
diag(s/p) - A. Since A is skew-symmetric, p.s = nu and every step lowers it.

NumPy does the arithmetic of vectors, since its calls cost less than torch's on small games.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

ITERATIONS = 100  # 20 suffice for a thousand actions
GAP = 1e-15  # p.s at which a game is solved
SMALL = 64  # actions up to which a system is solved by one call of NumPy
CENTRAL, CENTRED = 1e-8, 1e-3  # p.s at which a point is centred; largest relative deviation of p s before its last step
CLOSE = 0.995  # of the longest feasible step


@dataclass
class _Path:
    """The points of a batch: games A (B, n, n), policies p and margins s (B, n), and p.s (B, 1)."""

    matrix: np.ndarray
    policy: np.ndarray
    margin: np.ndarray
    gap: np.ndarray

    def part(self, chosen: np.ndarray) -> _Path:
        return _Path(*(values[chosen] for values in vars(self).values()))


def interior_points(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equilibria p (B, n) of games (B, n, n), and their margins s (B, n).

    Args:
        matrix: skew-symmetric, its largest entries about 1 or all 0.

    Returns: p > 0 and s > 0, where p_y > s_y marks the actions that some equilibrium plays. A game that does not
        converge keeps its last point.
    """
    path = _start(matrix)
    _follow(path, GAP)
    return path.policy, path.margin


def central_points(matrix: np.ndarray) -> np.ndarray:
    """Points (B, n) of the central path with p.s = 1e-8, so near the analytic centre of the equilibria."""
    path = _start(matrix)
    _follow(path, CENTRAL)
    _repeat(path, _centre)
    return path.policy


def _follow(path: _Path, goal: float) -> None:
    """Follow the path until p.s is below `goal`, or no longer falls."""

    def step(path: _Path) -> np.ndarray:
        before = path.gap
        return np.asarray(_step(path, goal) & (path.gap < before)[:, 0] & (path.gap >= goal)[:, 0])

    _repeat(path, step)


def _repeat(path: _Path, step: Callable[[_Path], np.ndarray]) -> None:
    """Take steps in place, of the games for which the last step returned True."""
    part, rows = path, np.arange(len(path.policy))
    for _ in range(ITERATIONS):
        unfinished = step(part)
        path.policy[rows], path.margin[rows], path.gap[rows] = part.policy, part.margin, part.gap
        if not unfinished.any():
            break
        if not unfinished.all():
            part, rows = part.part(unfinished), rows[unfinished]


def _start(matrix: np.ndarray) -> _Path:
    """The uniform policy, with margins that differ by at most a factor of 2."""
    batch, n, _ = matrix.shape
    policy = np.full((batch, n), 1 / n)
    gain = _products(matrix, policy)
    best = gain.max(-1, keepdims=True)
    margin = best + (best - gain.min(-1, keepdims=True) + 1e-3) - gain
    return _Path(matrix, policy, margin, _inner(policy, margin))


def _step(path: _Path, goal: float) -> np.ndarray:
    """One predictor and corrector, in place; False for games on which it fails, (B).

    With M = diag(s/p) - A, the equations  s dp + p ds = r,  ds = dnu - A dp,  sum dp = 0  read  M dp = r/p - dnu. The
    predictor has r = -p s. It needs no solution of its own: M p = 2 s - nu gives dp = (q - p)/2, q = M^-1 1 normalised.
    """
    p, s, gap = path.policy, path.margin, path.gap
    newton = _newton(path)
    dp = (newton.ones - p) / 2
    ds = -s - newton.ratio * dp
    remaining = 1 - 1 / np.maximum(_rate(p, s, dp, ds), 1)  # the share of the gap that the predictor leaves
    target = np.maximum(remaining**3 * gap, goal / 2) / p.shape[-1]
    dp, ds = newton.direction((target - dp * ds) / p - s)
    return _move(path, dp, ds)


def _centre(path: _Path) -> np.ndarray:
    """One Newton step towards the point of the path with the same p.s, in place; True for games that are far, (B)."""
    p, s = path.policy, path.margin
    target = path.gap / p.shape[-1]
    far = np.asarray((np.abs(p * s / target - 1) > CENTRED).any(-1))
    return np.asarray(_move(path, *_newton(path).direction(target / p - s)) & far)


def _move(path: _Path, dp: np.ndarray, ds: np.ndarray) -> np.ndarray:
    """Go along directions (B, n), at most a full step; False for games that cannot, (B)."""
    close = np.maximum(CLOSE, 1 - path.gap)
    length = close / np.maximum(_rate(path.policy, path.margin, dp, ds), close)
    policy, margin = path.policy + length * dp, path.margin + length * ds
    policy /= policy.sum(-1, keepdims=True)
    gain = _products(path.matrix, policy)
    exact = (margin + gain).sum(-1, keepdims=True) / policy.shape[-1] - gain  # free of the rounding of earlier steps
    margin = np.where((exact > 0).all(-1, keepdims=True), exact, margin)
    moved = np.asarray((np.minimum(policy, margin) > 0).all(-1) & np.isfinite(margin).all(-1))[:, None]
    path.policy, path.margin = np.where(moved, policy, path.policy), np.where(moved, margin, path.margin)
    path.gap = _inner(path.policy, path.margin)
    return moved[:, 0]


@dataclass
class _Newton:
    """The Newton equations of a batch of points, with the ratio s/p, M^-1 and M^-1 1, normalised."""

    ratio: np.ndarray
    inverse: Callable[[np.ndarray], np.ndarray]
    ones: np.ndarray

    def direction(self, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dp and ds for r/p (B, n)."""
        dp = self.inverse(right)
        dp -= dp.sum(-1, keepdims=True) * self.ones
        return dp, right - self.ratio * dp


def _newton(path: _Path) -> _Newton:
    ratio = path.margin / path.policy
    inverse = _inverse(path.matrix, ratio)
    ones = inverse(np.ones_like(ratio))
    return _Newton(ratio, inverse, ones / ones.sum(-1, keepdims=True))


def _inverse(matrix: np.ndarray, diagonal: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function r -> x with (diag(diagonal) - A) x = r, for vectors (B, n).

    Small systems are solved anew for each r, which costs less than the calls of a stored factorisation.
    """
    system = -matrix
    np.einsum("bii->bi", system)[:] += diagonal
    if diagonal.shape[-1] <= SMALL:
        return lambda right: solve_all(system, right[..., None])[..., 0]
    factors, pivots, _ = torch.linalg.lu_factor_ex(torch.from_numpy(system))

    def solution(right: np.ndarray) -> np.ndarray:
        columns = torch.from_numpy(right)[..., None]
        return np.asarray(torch.linalg.lu_solve(factors, pivots, columns)[..., 0])

    return solution


def solve_all(systems: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions of (B, n, n) x = (B, n, k); not finite where a system is singular."""
    if systems.shape[-1] <= SMALL:
        with suppress(np.linalg.LinAlgError):
            return np.linalg.solve(systems, right)
    return np.asarray(torch.linalg.solve_ex(torch.from_numpy(systems), torch.from_numpy(right))[0])


def _rate(p: np.ndarray, s: np.ndarray, dp: np.ndarray, ds: np.ndarray) -> np.ndarray:
    """1 over the longest step that keeps p + step dp and s + step ds at 0 or above, (B, 1)."""
    return np.asarray(np.maximum(-dp / p, -ds / s).max(-1, keepdims=True))


def _inner(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray((first * second).sum(-1, keepdims=True))


def _products(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.asarray((matrix @ vector[..., None])[..., 0])

"""The reference equilibrium, by other methods than those under test, with its certificate.

beta > 0: Newton's method with continuation in 1/beta (nlhf/newton.py), by factorised matrices or by products alone.
beta = 0: a linear programme (HiGHS), polished on its support; where it does not fit, the proximal point with a step
that doubles: the game regularised to its last solution, by Newton's method, until nothing gains.

A certificate is the measured exploitability beside its floor in float64: exploitability/beta bounds KL(pi || pi*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlhf import metrics, simplex
from nlhf.newton import SMALL, Dense, MatrixFree, Problem, newton

if TYPE_CHECKING:
    from nlhf.games.base import FiniteGame

SLACK = 1e-9  # at beta = 0: what counts as zero in the test of uniqueness
MEMORY = 8_000_000  # entries of one batch of Jacobians
CERTIFIED = 1e-18  # exploitability/beta, a bound of KL(pi || pi*), up to which an equilibrium is trusted
UNREGULARISED = 1e-12  # the same for the exploitability at beta = 0
DOUBLINGS = 40  # of the proximal point's step


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium of every problem of a batch.

    Args:
        log_policy: log-probabilities (..., n).
        exploitability: measured, the certificate, (...).
        floor: the exploitability that rounding alone would show, (...).
        unique: is it certified to be the only equilibrium? Always where beta > 0, (...).
        method: `newton`, `newton-krylov`, `linear programme` or `proximal point`.
    """

    log_policy: Tensor
    exploitability: Tensor
    floor: Tensor
    unique: Tensor
    method: str

    def reshaped(self, seeds: int, contexts: int) -> Equilibrium:
        """With batch dimensions (S, X)."""
        shaped = {name: getattr(self, name).view(seeds, contexts) for name in ("exploitability", "floor", "unique")}
        return Equilibrium(self.log_policy.view(seeds, contexts, -1), method=self.method, **shaped)

    def certified(self, beta: float) -> Tensor:
        """Is the exploitability as small as float64 shows it, so that distances to this policy mean something?"""
        if beta == 0:
            return self.exploitability <= UNREGULARISED
        return (self.exploitability <= beta * CERTIFIED) | (self.exploitability <= 1e3 * self.floor)


def solve(advantage: Tensor, log_reference: Tensor, beta: float) -> Equilibrium:
    """The equilibrium of every game of a batch.

    Args:
        advantage: P - 1/2, float64 (B, n, n), rows preferred to columns.
        log_reference: log-probabilities (B, n).
        beta: strength of the KL term, >= 0.

    Returns: an `Equilibrium` with log_policy (B, n).
    """
    if beta == 0:
        return _linear_programmes(advantage)
    batch, n = log_reference.shape
    size = MEMORY // (n * n) if n <= SMALL else 1
    parts = [
        newton(Dense(advantage[first : first + size]), log_reference[first : first + size], beta)
        for first in range(0, batch, size)
    ]
    return _regularised(Dense(advantage), torch.cat(parts), log_reference, beta, "newton")


def solve_matrix_free(game: FiniteGame, log_reference: Tensor, beta: float) -> Equilibrium:
    """The equilibria of all seeds and contexts of a game, from nothing but its products.

    Args:
        game: answers.
        log_reference: log-probabilities (S, X, n).
        beta: strength of the KL term, >= 0.

    Returns: an `Equilibrium` with log_policy (S, X, n).
    """
    seeds, contexts, n = log_reference.shape
    problem, flat = MatrixFree(game, (seeds, contexts)), log_reference.reshape(-1, n)
    if beta > 0:
        found = _regularised(problem, newton(problem, flat, beta), flat, beta, matrix_free_method(beta))
    else:
        found = _proximal_point(problem, flat)
    return found.reshaped(seeds, contexts)


def matrix_free_method(beta: float) -> str:
    """The `method` of `solve_matrix_free`."""
    return "newton-krylov" if beta > 0 else "proximal point"


def _regularised(problem: Problem, policy: Tensor, log_reference: Tensor, beta: float, method: str) -> Equilibrium:
    value = metrics.exploitability_of(policy, problem.answer(policy.exp()), log_reference, policy.new_tensor(beta))
    everywhere = torch.ones(len(policy), dtype=torch.bool)
    return Equilibrium(policy, value, metrics.exploitability_floor(policy, log_reference, beta), everywhere, method)


def _proximal_point(problem: Problem, log_reference: Tensor) -> Equilibrium:
    """At beta = 0; an equilibrium need not be the only one, and no test is made."""
    policy, beta = log_reference, 1.0
    best = value = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
    found = policy
    for _ in range(DOUBLINGS):
        policy = newton(problem, policy, beta)
        value = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
        better = value < best
        found, best = policy.where(better[:, None], found), value.where(better, best)
        if (best <= UNREGULARISED / 10).all():
            break
        beta /= 2
    floor = torch.full_like(best, np.finfo(float).eps)
    return Equilibrium(found, best, floor, torch.zeros_like(better), matrix_free_method(0.0))


def _linear_programmes(advantage: Tensor) -> Equilibrium:
    """One von Neumann winner per game, with the test whether it is the only one."""
    solved = [_linear_programme(matrix) for matrix in advantage.numpy()]
    policy = torch.from_numpy(np.stack([entry[0] for entry in solved]))
    value = simplex.products(advantage, policy).amax(-1).clamp(min=0.0)
    floor = torch.full_like(value, np.finfo(float).eps)
    unique = torch.tensor([entry[1] for entry in solved])
    return Equilibrium(policy.log(), value, floor, unique, "linear programme")


def _linear_programme(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Minimise w subject to A p <= w on the simplex; returns p (n) and whether it is certified unique.

    With S the support, p is the only equilibrium if (A p)_y < 0 outside S and the kernel of A_SS is a line: any other
    equilibrium q has q^T A p = 0, hence its support in S, hence A_SS q = 0.
    """
    from scipy.optimize import linprog

    n = len(matrix)
    matrix = matrix / (float(np.abs(matrix).max()) or 1.0)  # the solver's tolerances are absolute
    found = linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=np.c_[matrix, -np.ones(n)],
        b_ub=np.zeros(n),
        A_eq=np.r_[np.ones(n), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method="highs-ds",
    )
    if found.x is None:
        return np.full(n, 1 / n), False
    policy = np.maximum(found.x[:n], 0)
    policy /= policy.sum()
    support = np.flatnonzero(policy > SLACK)
    block = matrix[np.ix_(support, support)]
    polished = np.zeros(n)
    system = np.r_[block, np.ones((1, len(support)))]
    polished[support] = np.linalg.lstsq(system, np.r_[np.zeros(len(support)), 1.0], rcond=None)[0]
    if (polished >= 0).all() and (matrix @ polished).max() <= max((matrix @ policy).max(), 1e-15):
        policy = polished / polished.sum()
    singular = np.linalg.svd(block, compute_uv=False)
    line = len(support) == 1 or singular[-2] > SLACK
    outside = np.delete(matrix @ policy, support)
    return policy, bool(line and (outside < -SLACK).all())

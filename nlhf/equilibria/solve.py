"""The reference equilibrium, by other methods than those under test, with its certificate.

beta > 0: Newton's method with continuation in 1/beta (nlhf/equilibria/newton.py), by factorised matrices or by
products alone.
beta = 0: a linear programme (HiGHS), polished on its support; where it does not fit, the proximal point with a step
that doubles: the game regularised to its last solution, by Newton's method, until nothing gains.

A certificate is the measured exploitability beside its floor, what rounding in float64 alone can show. Certified means
exploitability <= min(floor, 1e-12), for preferences in [0, 1]. Exploitability/beta bounds KL(pi || pi*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria import metrics
from nlhf.equilibria.newton import SMALL, Dense, MatrixFree, Problem, newton
from nlhf.numerics import simplex

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame

SLACK = 1e-9  # at beta = 0: what counts as zero in the test of uniqueness
MEMORY = 8_000_000  # entries of one batch of Jacobians
VERSION = 2  # of the methods of this module: raise it when they change, and caches are computed again
CERTIFIED = 1e-12  # the largest exploitability that is certified, whatever rounding explains
DETERMINED = 1e-6  # the largest bound of KL(pi || pi*) with which distances to pi are still distances to pi*
DOUBLINGS = 40  # of the proximal point's step


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium of every problem of a batch.

    Args:
        log_policy: log-probabilities (..., n).
        exploitability: measured, the certificate, (...).
        floor: the exploitability that rounding alone can show (see `rounding_floor`), (...).
        unique: True if it is certified to be the only equilibrium; always where beta > 0, (...).
        method: `newton`, `newton-krylov`, `linear programme` or `proximal point`.
    """

    log_policy: Tensor
    exploitability: Tensor
    floor: Tensor
    unique: Tensor
    method: str

    @property
    def certified(self) -> Tensor:
        """True where the exploitability is at most min(floor, 1e-12); False where it is nan, (...)."""
        return self.exploitability <= self.floor.clamp(max=CERTIFIED)

    def determined(self, beta: float) -> Tensor:
        """True where the certificate bounds KL(pi || pi*) by 1e-6, or beta = 0 and the equilibrium is unique, (...).

        Where beta is so small that rounding moves the equilibrium, a certified policy may be far from pi*.
        """
        return self.unique if beta == 0 else self.unique & (self.exploitability <= DETERMINED * beta)


def rounding_floor(policy: Tensor, log_reference: Tensor, beta: float) -> Tensor:
    """The exploitability that rounding in float64 alone can show, log-probabilities (..., n) -> (...).

    For beta > 0 the exploitability is beta KL(pi || BR), with the best response BR ∝ ref exp(A pi / beta). Every logit
    of pi and BR is a sum of log pi, log ref and A pi / beta, where |A pi| <= 1/2. Each operation rounds by at most eps
    times the largest of these numbers, and a sum of n products rounds about sqrt(n) times. At the exact equilibrium
    log pi and log BR are equal, so in float64 they differ by at most

        delta = roundings eps (max |log pi| + max |log ref| + 1/(2 beta)),      roundings = 16 + 2 sqrt(n).

    Distributions whose logarithms differ by at most delta have KL <= min(delta^2, delta): the floor is beta times that.
    The first maximum is over the support. As beta falls to 0, the floor stays below roundings eps / 2, the rounding of
    the largest gain max_y (A pi)_y, apart from a term that vanishes: this is the floor at beta = 0.
    """
    roundings = 16 + 2 * policy.shape[-1] ** 0.5
    largest = policy.abs().where(policy > -700, 0.0).amax(-1) + log_reference.abs().amax(-1)
    scaled: Tensor = (beta * largest + 0.5) * (roundings * float(np.finfo(float).eps))  # beta delta
    return scaled * (scaled / beta).clamp(max=1.0) if beta > 0 else scaled


def recertify(advantage: Tensor, policy: Tensor, log_reference: Tensor, beta: float) -> Equilibrium:
    """Policies (B, n) of `solve` with certificates measured anew in games (B, n, n), by one product each."""
    policy = _finite(policy, log_reference)
    probabilities = policy.exp()
    unique = _certainly(policy, True) if beta > 0 else unique_winners(advantage, probabilities)
    answer = simplex.products(advantage, probabilities)
    return _certified(policy, answer, log_reference, beta, unique, dense_method(beta))


def recertify_matrix_free(game: FiniteGame, policy: Tensor, log_reference: Tensor, beta: float) -> Equilibrium:
    """The same for policies (S, X, n) of `solve_matrix_free`; at beta = 0 uniqueness is not tested."""
    policy = _finite(policy, log_reference)
    unique = _certainly(policy, beta > 0)
    return _certified(policy, game.payoff(policy.exp()), log_reference, beta, unique, matrix_free_method(beta))


def _certified(policy: Tensor, answer: Tensor, log_reference: Tensor, beta: float, unique: Tensor,
               method: str) -> Equilibrium:  # fmt: skip
    """Policies (..., n) with their certificates, from answer = A policy."""
    value = metrics.exploitability_of(policy, answer, log_reference, policy.new_tensor(beta))
    return Equilibrium(policy, value, rounding_floor(policy, log_reference, beta), unique, method)


def _certainly(policy: Tensor, unique: bool) -> Tensor:
    return torch.full(policy.shape[:-1], unique)


def _finite(policy: Tensor, log_reference: Tensor) -> Tensor:
    """Policies with the reference in place of those that hold nan, where a solver failed."""
    return policy.where(~policy.isnan().any(-1, keepdim=True), log_reference)


def solve(advantage: Tensor, log_reference: Tensor, beta: float) -> Equilibrium:
    """The equilibrium of every game of a batch.

    Args:
        advantage: P - 1/2, float64 (B, n, n), rows preferred to columns.
        log_reference: log-probabilities (B, n).
        beta: strength of the KL term, >= 0.

    Returns: an `Equilibrium` with log_policy (B, n).
    """
    if beta == 0:
        return _linear_programmes(advantage, log_reference)
    batch, n = log_reference.shape
    size = MEMORY // (n * n) if n <= SMALL else 1
    parts = [
        newton(Dense(advantage[first : first + size]), log_reference[first : first + size], beta)
        for first in range(0, batch, size)
    ]
    return recertify(advantage, torch.cat(parts), log_reference, beta)


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
    policy = newton(problem, flat, beta) if beta > 0 else _proximal_point(problem, flat)
    return recertify_matrix_free(game, policy.view(seeds, contexts, n), log_reference, beta)


def dense_method(beta: float) -> str:
    """The `method` of `solve`."""
    return "newton" if beta > 0 else "linear programme"


def matrix_free_method(beta: float) -> str:
    """The `method` of `solve_matrix_free`."""
    return "newton-krylov" if beta > 0 else "proximal point"


def _proximal_point(problem: Problem, log_reference: Tensor) -> Tensor:
    """An equilibrium at beta = 0, log-probabilities (B, n); it need not be the only one."""
    policy, beta = log_reference, 1.0
    best = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
    closest = policy
    for _ in range(DOUBLINGS):
        policy = newton(problem, policy, beta)
        value = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
        better = value < best
        closest, best = policy.where(better[:, None], closest), value.where(better, best)
        if (best <= rounding_floor(closest, log_reference, 0.0)).all():
            break
        beta /= 2
    return closest


def _linear_programmes(advantage: Tensor, log_reference: Tensor) -> Equilibrium:
    """One von Neumann winner per game, with the test whether it is the only one."""
    policy = torch.from_numpy(np.stack([_linear_programme(matrix) for matrix in advantage.numpy()])).log()
    return recertify(advantage, policy, log_reference, 0.0)


def _linear_programme(matrix: np.ndarray) -> np.ndarray:
    """A solution p (n) of: minimise w subject to A p <= w on the simplex."""
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
    """True where a von Neumann winner (B, n) is certified to be the only one of its game (B, n, n), (B).

    With S the support, p is the only equilibrium if (A p)_y < 0 outside S and the kernel of A_SS is a line: any other
    equilibrium q has q^T A p = 0, hence its support in S, hence A_SS q = 0.
    """
    pairs = zip(advantage.numpy(), policy.numpy(), strict=True)
    return torch.tensor([_unique_winner(_scaled(matrix), winner) for matrix, winner in pairs])


def _unique_winner(matrix: np.ndarray, winner: np.ndarray) -> bool:
    support = np.flatnonzero(winner > SLACK)
    if not len(support):
        return False
    singular = np.linalg.svd(matrix[np.ix_(support, support)], compute_uv=False)
    line = len(support) == 1 or singular[-2] > SLACK
    outside = np.delete(matrix @ winner, support)
    return bool(line and (outside < -SLACK).all())


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """A matrix with its largest entry at 1: the tolerances of the solver and of SLACK are absolute."""
    return np.asarray(matrix / (float(np.abs(matrix).max()) or 1.0))

"""The reference equilibrium, by other methods than those under test, with its certificate.

beta > 0: Newton's method on  F(t) = t - log ref - A softmax(t)/beta  modulo constants. Its Jacobian I - A C/beta, with
C = diag(pi) - pi pi^T, has eigenvalues 1 ± i mu and is never singular, but damped Newton stalls where beta is small:
the solution is continued in 1/beta from beta = 1, where the first Newton steps are safe, with the tangent as predictor.
beta = 0: a linear programme (HiGHS), polished on its support.

A certificate is the measured exploitability beside its floor in float64: exploitability/beta bounds KL(pi || pi*).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlhf import metrics, simplex

SUPPORT = -57.6  # log-probabilities below log(1e-25) enter the solution only through the others
SLACK = 1e-9  # at beta = 0: what counts as zero in the test of uniqueness
SMALL = 64  # actions up to which problems are solved together, on all actions; larger ones alone, on their support
MEMORY = 8_000_000  # entries of one batch of Jacobians
CERTIFIED = 1e-18  # exploitability/beta, a bound of KL(pi || pi*), up to which an equilibrium is trusted
UNREGULARISED = 1e-12  # the same for the exploitability at beta = 0


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium of every problem of a batch.

    Args:
        log_policy: log-probabilities (..., n).
        exploitability: measured, the certificate, (...).
        floor: the exploitability that rounding alone would show, (...).
        unique: is it certified to be the only equilibrium? Always where beta > 0, (...).
        method: `newton` or `linear programme`.
    """

    log_policy: Tensor
    exploitability: Tensor
    floor: Tensor
    unique: Tensor
    method: str

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
        newton(advantage[first : first + size], log_reference[first : first + size], beta)
        for first in range(0, batch, size)
    ]
    policy = torch.cat(parts)
    value = metrics.exploitability_of(
        policy, _products(advantage, policy.exp()), log_reference, policy.new_tensor(beta)
    )
    everywhere = torch.ones(batch, dtype=torch.bool)
    return Equilibrium(policy, value, metrics.exploitability_floor(policy, log_reference, beta), everywhere, "newton")


def newton(advantage: Tensor, log_reference: Tensor, target: float) -> Tensor:
    """Newton's method with continuation in 1/beta, all problems of a batch in step; log-probabilities (B, n).

    Large problems come alone: on two threads, torch's batched solver may fail with MKL from n = 150 on (pytorch issue
    142815), and a support that a batch shared would let a problem's bits depend on its neighbours.

    Every problem has its own beta, step of the continuation and line search. A problem that cannot be continued keeps
    its best point: the certificate tells.
    """
    path = _Continuation(advantage, log_reference, target)
    while path.active.any():
        path.newton_step()
        path.move_on()
    return path.point


class _Continuation:
    """The state of `newton`, one entry per problem."""

    def __init__(self, advantage: Tensor, log_reference: Tensor, target: float) -> None:
        batch = len(log_reference)
        self.advantage, self.log_reference, self.target = advantage, log_reference, target
        self.beta = torch.full((batch, 1), max(target, 1.0), dtype=torch.float64)
        self.point = log_reference.clone()
        self.merit, self.response = self._respond(self.point, self.beta)
        self.solved, self.solved_beta = self.point, self.beta  # where the path was last met
        self.tangent = torch.zeros_like(self.point)
        self.stride = torch.full((batch, 1), 4.0, dtype=torch.float64)
        self.steps = torch.zeros(batch, dtype=torch.int64)
        self.stalled = torch.zeros(batch, dtype=torch.bool)
        self.active = torch.ones(batch, dtype=torch.bool)

    def newton_step(self) -> None:
        """One damped step: halve until the exploitability falls by a tenth of what the full step promises."""
        direction = self._solve(self.response - self.point)
        length = torch.ones_like(self.beta)
        waiting = self.active.clone()
        for _ in range(30):
            trial = (self.point + length * direction).log_softmax(-1)
            merit, response = self._respond(trial, self.beta)
            taken = waiting & (merit <= (1 - 0.1 * length[:, 0]) * self.merit) & merit.isfinite()
            self._assign(taken, point=trial, merit=merit, response=response)
            waiting &= ~taken
            at_rounding = self.merit <= 1e-20 * self.beta[:, 0]
            if not (waiting & ~at_rounding).any():
                break
            length = torch.where(waiting[:, None], length / 2, length)
        self.stalled = waiting
        self.steps += 1

    def move_on(self) -> None:
        """Continue the problems that met the path, go back with those that lost it, end those that are done."""
        arrived = self.beta[:, 0] <= self.target
        met = self.merit <= 1e-6 * self.beta[:, 0]
        lost = ~met & (self.stalled | (self.steps >= 12))
        finished = arrived & met & (self.stalled | (self.steps >= 60))
        self.active &= ~finished
        forward = self.active & met & ~arrived
        back = self.active & lost
        if not (forward | back).any():
            return
        self._assign(forward, solved=self.point, solved_beta=self.beta)
        if forward.any():
            self._assign(forward, tangent=self._solve(_products(self.advantage, self.point.exp())))
        longer = torch.where((self.steps <= 5)[:, None], self.stride**1.5, self.stride).clamp(max=10)
        self._assign(forward, stride=longer)
        self._assign(back, stride=self.stride.sqrt())
        hopeless = back & ((self.stride[:, 0] < 1.001) | (self.solved_beta[:, 0] <= self.target))
        self.active &= ~hopeless
        moved = forward | (back & ~hopeless)
        beta = (self.solved_beta / self.stride).clamp(min=self.target)
        predicted = self.solved + self.tangent * (1 / beta - 1 / self.solved_beta)
        predicted = predicted.log_softmax(-1)
        merit, response = self._respond(predicted, beta)
        self._assign(moved, point=predicted, beta=beta, merit=merit, response=response)
        self._assign(moved, steps=torch.zeros_like(self.steps))

    def _respond(self, point: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The merit, exploitability at this beta, and the best response; shapes (B) and (B, n)."""
        answer = _products(self.advantage, point.exp())
        response = (self.log_reference + answer / beta).log_softmax(-1)
        return beta[:, 0] * simplex.kl(point, response), response

    def _solve(self, right: Tensor) -> Tensor:
        """(I - A C/beta) d = right, solved on the support of a large problem and extended to the rest."""
        policy = self.point.exp()
        together = self.point.shape[1] <= SMALL
        support = (self.point > (-torch.inf if together else SUPPORT)).any(0).nonzero()[:, 0]
        mass = policy[:, support]
        answer = _products(self.advantage, policy)
        block = self.advantage[:, :, support]  # (B, n, s)
        centred = (block * mass[:, None, :]).sub_(answer[:, :, None] * mass[:, None, :]).div_(self.beta[:, :, None])
        jacobian = torch.eye(len(support), dtype=torch.float64) - centred[:, support]
        inner: Tensor = torch.linalg.solve(jacobian, right[:, support])
        return right + _products(centred, inner)

    def _assign(self, where: Tensor, **values: Tensor) -> None:
        """Set the attributes to `values` in the problems `where`."""
        for name, value in values.items():
            old = getattr(self, name)
            mask = where if old.ndim == 1 else where[:, None]
            setattr(self, name, torch.where(mask, value, old))


def _products(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batched matrix-vector products (B, m, n), (B, n) -> (B, m)."""
    return torch.bmm(matrix, vector[:, :, None])[:, :, 0]


def _linear_programmes(advantage: Tensor) -> Equilibrium:
    """One von Neumann winner per game, with the test whether it is the only one."""
    solved = [_linear_programme(matrix) for matrix in advantage.numpy()]
    policy = torch.from_numpy(np.stack([entry[0] for entry in solved]))
    value = _products(advantage, policy).amax(-1).clamp(min=0.0)
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

"""The limit of the equilibria as beta falls to 0: of all equilibria at beta = 0, the one closest to the reference.

With a uniform reference it is the equilibrium with the largest entropy. See docs/mathematics.md, "The limit of beta".

An equilibrium p that plays every action that some equilibrium plays, S, describes all of them: q = p + N z with
A_SS N = 0 and 1' N = 0, q >= 0, and A q <= 0 outside S. KL(q || reference) keeps q > 0 in S. The other inequalities
G z <= margin have a logarithmic barrier that falls to 0 (Newton's method); with the constraints that are then active as
equations, Newton's method ends at the rounding of float64, and the signs of margins and multipliers prove the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria.certificates import Equilibrium, recertify
from nlhf.equilibria.uniqueness import scaled

RANK = 1e-12  # singular values below it, relative to the largest, count as zero
BARRIERS = 10.0 ** np.arange(-1, -13, -1)
STEPS = 60  # of Newton's method for one barrier, at most
CHANGES, FEW_CHANGES = 30, 2  # of the active constraints, at most: after the last barrier, and before
ATTEMPTS = 3  # barriers between attempts to solve exactly
ROUNDING = 1e-15  # of probabilities
SIGN = 1e-10  # of margins and multipliers that rounding explains
GAIN = 1e-13  # gain against an equilibrium that rounding explains


@dataclass
class _Face:
    """The equilibria point + basis @ z on S, (k) and (k, d), with G z <= margin, (m, d) and (m)."""

    point: np.ndarray
    basis: np.ndarray
    log_reference: np.ndarray
    matrix: np.ndarray
    margin: np.ndarray

    def policy(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(self.point + self.basis @ z)

    def derivatives(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient (d) and the Hessian (d, d) of KL(q || reference)."""
        q = self.policy(z)
        return self.basis.T @ (np.log(q) - self.log_reference), (self.basis.T / q) @ self.basis

    def objective(self, z: np.ndarray, barrier: float) -> float:
        """KL(q || reference) with the barrier; infinite outside."""
        q, slack = self.policy(z), self.margin - self.matrix @ z
        if min(q.min(), slack.min(initial=np.inf)) <= 0:
            return np.inf
        return float(q @ (np.log(q) - self.log_reference) - barrier * np.log(slack).sum())


def limits(advantage: Tensor, solved: Equilibrium, log_reference: Tensor) -> Equilibrium:
    """Equilibria at beta = 0 of games (B, n, n), with the closest to the reference where there may be several."""
    policy, matrix = solved.log_policy.exp().numpy().copy(), scaled(advantage.numpy())
    for row in np.flatnonzero(~solved.unique.numpy()):
        closest = closest_equilibrium(matrix[row], policy[row], log_reference[row].numpy())
        if (matrix[row] @ closest).max() <= max(GAIN, (matrix[row] @ policy[row]).max()):
            policy[row] = closest
    return recertify(advantage, torch.from_numpy(policy).log(), log_reference, 0.0, solved.unique)


def closest_equilibrium(matrix: np.ndarray, policy: np.ndarray, log_reference: np.ndarray) -> np.ndarray:
    """The equilibrium (n) of a game with the smallest KL divergence to the reference.

    Args:
        matrix: skew-symmetric, (n, n), its largest entries about 1 or all 0.
        policy: an equilibrium that plays every action that some equilibrium plays, as the interior point method gives.
        log_reference: log-probabilities, (n).
    """
    gain = matrix @ policy
    support = policy > np.maximum(-gain, 0)
    inside, point = matrix[np.ix_(support, support)], policy[support] / policy[support].sum()
    system = np.vstack([inside, np.ones(len(point))])
    _, values, rows = np.linalg.svd(system)
    basis = rows[int((values > RANK * values[0]).sum()) :].T
    if basis.shape[1] == 0:
        return policy
    outside = matrix[np.ix_(~support, support)]
    face = _Face(point, basis, log_reference[support], outside @ basis, -(outside @ point))
    closest = np.zeros_like(policy)
    closest[support] = face.policy(_solution(face))
    return np.asarray(closest / closest.sum())


def _solution(face: _Face) -> np.ndarray:
    """The coordinates z (d) of the closest equilibrium: exact, or that of the smallest barrier if rounding prevents.

    The closest equilibrium is unique, and signs prove it. So it is looked for after every few barriers already.
    """
    z = np.zeros(face.basis.shape[1])
    barriers = BARRIERS if len(face.margin) else np.zeros(1)
    for left, barrier in zip(range(len(barriers))[::-1], barriers, strict=True):
        z = _centre(face, z, barrier)
        if left % ATTEMPTS == 0 and (exact := _exact(face, z, barrier, FEW_CHANGES if left else CHANGES)) is not None:
            return exact
    return z


def _exact(face: _Face, z: np.ndarray, barrier: float, changes: int) -> np.ndarray | None:
    """The coordinates of the closest equilibrium, from those with a barrier; None if no active constraints prove it."""
    slack = face.margin - face.matrix @ z
    active = slack**2 < barrier  # the margin is below its multiplier
    for _ in range(changes):
        exact, multipliers = _on_equations(face, z, np.flatnonzero(active))
        if exact is None:
            return None
        slack = face.margin - face.matrix @ exact
        wrong = np.where(active, multipliers, slack) < -SIGN
        if not wrong.any():
            return exact
        active = active ^ wrong
    return None


def _centre(face: _Face, z: np.ndarray, barrier: float) -> np.ndarray:
    """The minimum with a barrier, by Newton's method with backtracking."""
    value = face.objective(z, barrier)
    for _ in range(STEPS):
        gradient, hessian = face.derivatives(z)
        slack = face.margin - face.matrix @ z
        gradient = gradient + face.matrix.T @ (barrier / slack)
        hessian = hessian + (face.matrix.T * (barrier / slack**2)) @ face.matrix
        if not (np.isfinite(hessian).all() and np.isfinite(gradient).all()):
            break
        step = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]  # rounding can make the Hessian singular
        decrease, length = -float(gradient @ step), 1.0
        while (new := face.objective(z + length * step, barrier)) > value - length * decrease / 4 and length > 1e-12:
            length /= 2
        if not new < value:
            break
        z, value = z + length * step, new
    return z


def _on_equations(face: _Face, z: np.ndarray, active: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The minimum where the active constraints are equations, and their multipliers (m); None if it is not reached."""
    rows, multipliers = face.matrix[active], np.zeros(len(face.margin))
    d, m = len(z), len(active)
    for _ in range(STEPS):
        gradient, hessian = face.derivatives(z)
        system = np.block([[hessian, rows.T], [rows, np.zeros((m, m))]])
        right = np.concatenate([-gradient, face.margin[active] - rows @ z])
        solution = np.linalg.lstsq(system, right, rcond=None)[0]
        moved = face.basis @ solution[:d]
        length = min(1.0, 0.99 / max(float((-moved / face.policy(z)).max()), 1e-300))
        z = z + length * solution[:d]
        if length == 1.0 and np.abs(moved).max() < ROUNDING:
            break
    multipliers[active] = solution[d:]
    reached = np.abs(moved).max() < SIGN and np.abs(rows @ z - face.margin[active]).max(initial=0.0) < SIGN
    return (z if reached else None), multipliers

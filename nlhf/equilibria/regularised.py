"""Equilibria with another regulariser than the reverse KL, by a primal-dual interior point method.

With R'(p) = r(p) - b/p, where b >= 0 is the barrier of the forward KL and r is finite, p is the equilibrium iff

    s = nu - A p + beta r(p) >= 0,      p s = beta b,      sum p = 1.

The method follows p s = max(beta b, mu) as mu falls to 0, from a mixture of the reference and the uniform policy. A
Newton step solves M dp = right - dnu with M = diag(s/p + beta r') - A, which is positive definite plus skew-symmetric
and never singular. At the end come Newton steps on scores x: with B(x) = argmax <pi, x> - R(pi), the equilibrium is
B(x) for x = A B(x)/beta, and the derivative of B is C = diag(c) - c c^T/sum c with c = 1/R'', 0 outside the support.
They put exact zeros outside the support. See docs/mathematics.md, "Other regularisers".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nlhf.regularisers.base import Regulariser
from nlhf.regularisers.reverse_kl import REVERSE_KL

if TYPE_CHECKING:
    from nlhf.equilibria.problems import Dense, Nonlinear

ITERATIONS, POLISHING = 200, 5
LEAST, CLOSE = 1e-18, 1e-13  # the last mu; the relative error of products at which the path has ended
SHORTER, BOUNDARY = 0.2, 0.95  # factor of mu after a long step, and the part of the way to the boundary that is gone


@dataclass(frozen=True)
class Regularised:
    """B games of n actions.

    Args:
        games: answer, and have the derivatives of their answers.
        log_reference: (B, n).
        beta: (B, 1), > 0.
        regulariser: R.
    """

    games: Dense | Nonlinear
    log_reference: Tensor
    beta: Tensor
    regulariser: Regulariser

    def equilibria(self) -> Tensor:
        """Log-probabilities (B, n). Where the method fails, the certificate shows it."""
        return self._polished(self._path().log())

    def _path(self) -> Tensor:
        """The policies (B, n) at the end of the path."""
        n = self.log_reference.shape[-1]
        barrier = self.beta * self.regulariser.barrier(self.log_reference)
        policy = (self.log_reference.exp() + 1 / n) / 2
        finite = self.beta * self.regulariser.finite_slope(policy.log(), self.log_reference)
        margin = finite - self.games.answer(policy)
        nu = 1 - margin.amin(-1, keepdim=True)
        slack = nu + margin
        mu = (policy * slack).amax(-1, keepdim=True)
        for _ in range(ITERATIONS):
            target = barrier.maximum(mu)
            moves = self._newton_step(policy, slack, nu, target)
            length = _longest((policy, moves[0]), (slack, moves[1]))
            policy, slack, nu = (value + length * move for value, move in zip((policy, slack, nu), moves, strict=True))
            ended = (mu <= barrier.amin(-1, keepdim=True).clamp(min=LEAST)) & (length == 1)
            error = (policy * slack / target - 1).abs().amax(-1, keepdim=True)
            if (ended & (error < CLOSE)).all():
                break
            mu = (mu * SHORTER).where((length > 0.5) & (error < 1), mu).clamp(min=LEAST)
        return policy / policy.sum(-1, keepdim=True)

    def _newton_step(self, policy: Tensor, slack: Tensor, nu: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The moves of policy, slack and nu towards p s = target."""
        log_policy = policy.log()
        finite = self.beta * self.regulariser.finite_slope(log_policy, self.log_reference)
        curvature = self.beta * self.regulariser.finite_curvature(log_policy, self.log_reference)
        derivative = self.games.derivative(policy)
        missing = nu - self.games.answer(policy) + finite - slack
        matrix = torch.diag_embed(slack / policy + curvature) - derivative
        right = torch.stack([(target - policy * slack) / policy - missing, torch.ones_like(policy)], -1)
        first, second = torch.linalg.solve_ex(matrix, right)[0].unbind(-1)
        lacking = 1 - policy.sum(-1, keepdim=True)
        nu_move = (first.sum(-1, keepdim=True) - lacking) / second.sum(-1, keepdim=True)
        move = first - nu_move * second
        slack_move = nu_move - (derivative @ move[..., None])[..., 0] + curvature * move + missing
        return move, slack_move, nu_move

    def _polished(self, log_policy: Tensor) -> Tensor:
        """The best of the policies and of Newton steps on their scores."""
        best, best_value = log_policy, self._exploitability(log_policy)
        scores = self.games.answer(log_policy.exp()) / self.beta
        for _ in range(POLISHING):
            policy = self._response(scores)
            value = self._exploitability(policy)
            better = value < best_value
            best, best_value = policy.where(better[:, None], best), value.where(better, best_value)
            curvature = self.regulariser.inverse_curvature(policy, self.log_reference)
            image = self.games.derivative(policy.exp()) * curvature[:, None]
            mean = curvature / curvature.sum(-1, keepdim=True)
            image = (image - image.sum(-1)[..., None] * mean[:, None]) / self.beta[:, :, None]
            jacobian = torch.eye(policy.shape[-1], dtype=torch.float64) - image
            right = self.games.answer(policy.exp()) / self.beta - scores
            scores = scores + torch.linalg.solve_ex(jacobian, right)[0]
        return best

    def _response(self, scores: Tensor) -> Tensor:
        """B(x)."""
        one = torch.ones_like(self.beta)
        return self.regulariser.response(scores.nan_to_num(0.0), self.log_reference, one).log_policy

    def _exploitability(self, log_policy: Tensor) -> Tensor:
        answer = self.games.answer(log_policy.exp())
        return self.regulariser.exploitability(log_policy, answer, self.log_reference, self.beta)


def _longest(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The longest step, at most 1, after which all values (B, n) are positive, (B, 1)."""
    steps = [(-value / move).where(move < 0, float("inf")).amin(-1, keepdim=True) for value, move in pairs]
    return (BOUNDARY * torch.minimum(*steps)).clamp(max=1.0)


def suffix(regulariser: Regulariser) -> str:
    """The part of a method's name that names another regulariser than the reverse KL."""
    return "" if regulariser == REVERSE_KL else f" for {regulariser}"

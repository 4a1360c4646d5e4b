"""The forms of a batch of games for Newton's method: factorised matrices, products only, or a derivative.

In the metric of C the Newton equation reads (I - S) y = b with S skew-symmetric, which a three-term recurrence solves
(P. Concus, G. H. Golub 1976, and O. Widlund, SIAM J. Numer. Anal. 15, 1978): no basis is stored, and a game of rank d
takes at most d + 1 products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from nlhf.numerics import simplex
from nlhf.numerics.threads import threads_for

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame, NonlinearGame

SUPPORT = -57.6  # log(1e-25): actions with lower log-probabilities are left out of the linear system
SMALL = 64  # up to so many actions, problems are solved together on all actions; larger ones on their support
PRODUCTS, RESIDUAL = 2000, 1e-9  # limits of one Newton equation: number of products, relative residual


class Problem(Protocol):
    """B games of n actions."""

    def answer(self, probabilities: Tensor) -> Tensor:
        """y -> P(y > policy) - 1/2 for policies (B, n)."""

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        """d with (I - A C/beta) d = right, for log-probabilities and right-hand sides (B, n), beta (B, 1)."""

    def normalised(self, logits: Tensor) -> Tensor:
        """Log-probabilities (B, n) of the policies with these logits."""

    def part(self, chosen: Tensor) -> Problem | None:
        """Some of the games, (B) bool; None if the games cannot be separated."""


class OneTurn:
    """Policies that may be any distributions."""

    def normalised(self, logits: Tensor) -> Tensor:
        """The softmax."""
        return logits.log_softmax(-1)


class Dense(OneTurn):
    """Matrices of advantages (B, n, n).

    Pass large problems one by one: on two threads, torch's batched solver may hang with MKL from n = 150 on (pytorch
    issue 142815), and a support shared by a batch would make a problem's bits depend on its neighbours.
    """

    def __init__(self, advantage: Tensor) -> None:
        self.advantage = advantage

    def answer(self, probabilities: Tensor) -> Tensor:
        return simplex.products(self.advantage, probabilities)

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        policy = point.exp()
        on_all = point.shape[1] <= SMALL
        support = (point > (-torch.inf if on_all else SUPPORT)).any(0).nonzero()[:, 0]
        mass = policy[:, support]
        answer = self.answer(policy)
        block = self.advantage[:, :, support]  # (B, n, s)
        centred = (block * mass[:, None, :]).sub_(answer[:, :, None] * mass[:, None, :]).div_(beta[:, :, None])
        jacobian = torch.eye(len(support), dtype=torch.float64) - centred[:, support]
        # At a tiny beta rounding can make the Jacobian singular: the line search then rejects the useless direction.
        inner: Tensor = torch.linalg.solve_ex(jacobian, right[:, support])[0]
        return right + simplex.products(centred, inner)

    def derivative(self, probabilities: Tensor) -> Tensor:
        """The derivative of `answer` by the policy, (B, n, n)."""
        return self.advantage

    def part(self, chosen: Tensor) -> Dense:
        return Dense(self.advantage[chosen])


class MatrixFree(OneTurn):
    """The contexts and seeds of any game as problems that use products only.

    Args:
        game: computes the products.
        shape: seeds and contexts (S, X) of the batch B = S X.
    """

    def __init__(self, game: FiniteGame, shape: tuple[int, int]) -> None:
        self.game, self.shape = game, shape

    def answer(self, probabilities: Tensor) -> Tensor:
        return self.game.payoff(probabilities.view(*self.shape, -1)).reshape(probabilities.shape)

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        """With y = sqrt(pi) (d - pi.d) and g = A (sqrt(pi) y)/beta:  y = b + S y,  S y = sqrt(pi) (g - pi.g),
        d = right + g."""
        root = (point / 2).exp()

        def centred(values: Tensor) -> Tensor:
            moved = root * values
            return moved.sub_(root * (root * moved).sum(-1, keepdim=True))

        def gain(y: Tensor) -> Tensor:
            return self.answer(root * y).div_(beta)

        y, before = torch.zeros_like(right), torch.zeros_like(right)
        image = residual = centred(right)
        first = last = residual.square().sum(-1, keepdim=True)
        weight = torch.ones_like(last)
        for number in range(PRODUCTS):
            size = residual.square().sum(-1, keepdim=True)
            unfinished = size > RESIDUAL**2 * first
            if not unfinished.any():
                break
            if number:
                weight = 1 / (1 + size / last.where(last > 0, 1.0) / weight)
            y, before = (before + weight * (residual + y - before)).where(unfinished, y), y.where(unfinished, before)
            residual = (image + centred(gain(y)) - y).where(unfinished, residual)
            last = size
        return right + gain(y)

    def part(self, chosen: Tensor) -> None:
        return None


class Nonlinear(MatrixFree):
    """The contexts and seeds of a game whose answers are not linear in the policy; Newton's method uses a derivative.

    The derivative by the policy takes the place of A in the Jacobian.
    """

    game: NonlinearGame

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        derivative = self.derivative(point.exp())
        with threads_for(point.shape[-1], len(point)):
            return Dense(derivative).solve(point, beta, right)

    def derivative(self, probabilities: Tensor) -> Tensor:
        """The derivative of `answer` by the policy, (B, n, n)."""
        return self.game.derivative(probabilities.view(*self.shape, -1)).flatten(0, 1)


def problem_of(game: FiniteGame, shape: tuple[int, int]) -> Problem:
    """The contexts and seeds (S, X) of a game as problems without a matrix."""
    return MatrixFree(game, shape) if game.is_bilinear else Nonlinear(cast("NonlinearGame", game), shape)

"""Newton's method for regularised equilibria, with continuation in 1/beta, for a batch of B games in step.

    F(t) = t - log ref - A softmax(t)/beta = 0,      Jacobian  I - A C/beta,   C = diag(pi) - pi pi^T

The Jacobian has eigenvalues 1 ± i mu and is never singular, but damped Newton stalls where beta is small: the solution
is continued from beta = 1, where the first Newton steps are safe, with the tangent as predictor.

A `Problem` answers products and solves one Newton equation: `Dense` by factorising a matrix, on the support of the
policy; `MatrixFree` by a Krylov method that asks for products alone. In the metric of C the equation reads
(I - S) y = b with S skew-symmetric, for which a three-term recurrence suffices (P. Concus, G. H. Golub 1976, and
O. Widlund, SIAM J. Numer. Anal. 15, 1978): no basis is kept, and a game of rank d takes at most d + 1 products.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nlhf.numerics import simplex

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame

SUPPORT = -57.6  # log-probabilities below log(1e-25) enter the solution only through the others
SMALL = 64  # actions up to which problems are solved together, on all actions; larger ones on their support
PRODUCTS, RESIDUAL = 2000, 1e-9  # of one Newton equation: at most so many, down to this relative residual


class Problem(Protocol):
    """B games of n actions."""

    def answer(self, probabilities: Tensor) -> Tensor:
        """y -> P(y > policy) - 1/2 for policies (B, n)."""

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        """d with (I - A C/beta) d = right, for log-probabilities and right-hand sides (B, n), beta (B, 1)."""

    def part(self, chosen: Tensor) -> Problem | None:
        """Some of the games, (B) bool; None where they cannot be told apart."""


class Dense:
    """Matrices of advantages (B, n, n).

    Large problems should come alone: on two threads, torch's batched solver may fail with MKL from n = 150 on (pytorch
    issue 142815), and a support that a batch shared would let a problem's bits depend on its neighbours.
    """

    def __init__(self, advantage: Tensor) -> None:
        self.advantage = advantage

    def answer(self, probabilities: Tensor) -> Tensor:
        return simplex.products(self.advantage, probabilities)

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        policy = point.exp()
        together = point.shape[1] <= SMALL
        support = (point > (-torch.inf if together else SUPPORT)).any(0).nonzero()[:, 0]
        mass = policy[:, support]
        answer = self.answer(policy)
        block = self.advantage[:, :, support]  # (B, n, s)
        centred = (block * mass[:, None, :]).sub_(answer[:, :, None] * mass[:, None, :]).div_(beta[:, :, None])
        jacobian = torch.eye(len(support), dtype=torch.float64) - centred[:, support]
        # At a tiny beta rounding can make the Jacobian singular: the line search then rejects the useless direction.
        inner: Tensor = torch.linalg.solve_ex(jacobian, right[:, support])[0]
        return right + simplex.products(centred, inner)

    def part(self, chosen: Tensor) -> Dense:
        return Dense(self.advantage[chosen])


class MatrixFree:
    """The contexts and seeds of any game as problems; nothing but its products is asked for.

    Args:
        game: answers.
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
            going = size > RESIDUAL**2 * first
            if not going.any():
                break
            if number:
                weight = 1 / (1 + size / last.where(last > 0, 1.0) / weight)
            y, before = (before + weight * (residual + y - before)).where(going, y), y.where(going, before)
            residual = (image + centred(gain(y)) - y).where(going, residual)
            last = size
        return right + gain(y)

    def part(self, chosen: Tensor) -> None:
        return None


def newton(problem: Problem, log_reference: Tensor, target: float) -> Tensor:
    """The equilibria for beta = `target` > 0, log-probabilities (B, n), from references (B, n).

    Every problem has its own beta, step of the continuation and line search. A problem that cannot be continued keeps
    its best point: the certificate tells.
    """
    path, places = _Continuation(problem, log_reference, target), torch.arange(len(log_reference))
    found = log_reference.clone()
    while path.active.any():
        path.newton_step()
        path.move_on()
        if 0 < 2 * path.active.sum() <= len(places) and (rest := problem.part(path.active)) is not None:
            found[places] = path.point
            problem, places = rest, places[path.active]
            path = path.part(problem)
    found[places] = path.point
    return found


class _Continuation:
    """The state of `newton`, one entry per problem."""

    def __init__(self, problem: Problem, log_reference: Tensor, target: float) -> None:
        batch = len(log_reference)
        self.problem, self.log_reference, self.target = problem, log_reference, target
        self.beta = torch.full((batch, 1), max(target, 1.0), dtype=torch.float64)
        self.point = log_reference.clone()
        self.merit, self.response = self._respond(self.point, self.beta)
        self.solved, self.solved_beta = self.point, self.beta  # where the path was last met
        self.tangent = torch.zeros_like(self.point)
        self.stride = torch.full((batch, 1), 4.0, dtype=torch.float64)
        self.steps = torch.zeros(batch, dtype=torch.int64)
        self.stalled = torch.zeros(batch, dtype=torch.bool)
        self.active = torch.ones(batch, dtype=torch.bool)

    def part(self, problem: Problem) -> _Continuation:
        """The problems that go on, by themselves."""
        rest, chosen = copy(self), self.active
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(rest, name, value[chosen])
        rest.problem = problem
        return rest

    def newton_step(self) -> None:
        """One damped step: halve until the exploitability falls by a tenth of what the full step promises."""
        direction = self.problem.solve(self.point, self.beta, self.response - self.point)
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
            answer = self.problem.answer(self.point.exp())
            self._assign(forward, tangent=self.problem.solve(self.point, self.beta, answer).nan_to_num(0.0, 0.0, 0.0))
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
        response = (self.log_reference + self.problem.answer(point.exp()) / beta).log_softmax(-1)
        return beta[:, 0] * simplex.kl(point, response), response

    def _assign(self, where: Tensor, **values: Tensor) -> None:
        """Set the attributes to `values` in the problems `where`."""
        for name, value in values.items():
            old = getattr(self, name)
            mask = where if old.ndim == 1 else where[:, None]
            setattr(self, name, torch.where(mask, value, old))

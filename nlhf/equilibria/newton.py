"""Newton's method for regularised equilibria, with continuation in 1/beta, for a batch of B games.

    F(t) = t - log ref - A softmax(t)/beta = 0,      Jacobian  I - A C/beta,   C = diag(pi) - pi pi^T

The Jacobian has eigenvalues 1 ± i mu and is never singular, but damped Newton stalls if beta is small. The solution is
therefore continued from beta = 1, where the first Newton steps are safe, with the tangent as predictor.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from nlhf.equilibria.problems import Problem
from nlhf.numerics import simplex


def newton(problem: Problem, log_reference: Tensor, target: float) -> Tensor:
    """The equilibria for beta = `target` > 0, log-probabilities (B, n), from references (B, n).

    Every problem has its own beta, continuation step and line search. A problem that cannot be continued keeps its
    best point, and its certificate shows the error.
    """
    path, indices = _Continuation(problem, log_reference, target), torch.arange(len(log_reference))
    policy = log_reference.clone()
    while path.active.any():
        path.newton_step()
        path.move_on()
        if 0 < 2 * path.active.sum() <= len(indices) and (remaining := problem.part(path.active)) is not None:
            policy[indices] = path.point
            problem, indices = remaining, indices[path.active]
            path = path.part(problem)
    policy[indices] = path.point
    return policy


class _Continuation:
    """The state of `newton`, one entry per problem."""

    def __init__(self, problem: Problem, log_reference: Tensor, target: float) -> None:
        batch = len(log_reference)
        self.problem, self.log_reference, self.target = problem, log_reference, target
        self.beta = torch.full((batch, 1), max(target, 1.0), dtype=torch.float64)
        self.point = log_reference.clone()
        self.merit, self.response = self._respond(self.point, self.beta)
        self.solved, self.solved_beta = self.point, self.beta  # the last solution on the path
        self.tangent = torch.zeros_like(self.point)
        self.stride = torch.full((batch, 1), 4.0, dtype=torch.float64)
        self.steps = torch.zeros(batch, dtype=torch.int64)
        self.stalled = torch.zeros(batch, dtype=torch.bool)
        self.active = torch.ones(batch, dtype=torch.bool)

    def part(self, problem: Problem) -> _Continuation:
        """The active problems as a batch of their own."""
        active, chosen = copy(self), self.active
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(active, name, value[chosen])
        active.problem = problem
        return active

    def newton_step(self) -> None:
        """One damped step: halve until the exploitability falls by a tenth of what the full step promises."""
        direction = self.problem.solve(self.point, self.beta, self.response - self.point)
        length = torch.ones_like(self.beta)
        waiting = self.active.clone()
        for _ in range(30):
            trial = self.problem.normalised(self.point + length * direction)
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
        """Continue problems that are solved at their beta, shorten the step of failed ones, end finished ones."""
        arrived = self.beta[:, 0] <= self.target
        solved = self.merit <= 1e-6 * self.beta[:, 0]
        failed = ~solved & (self.stalled | (self.steps >= 12))
        finished = arrived & solved & (self.stalled | (self.steps >= 60))
        self.active &= ~finished
        forward = self.active & solved & ~arrived
        back = self.active & failed
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
        predicted = self.problem.normalised(predicted)
        merit, response = self._respond(predicted, beta)
        self._assign(moved, point=predicted, beta=beta, merit=merit, response=response)
        self._assign(moved, steps=torch.zeros_like(self.steps))

    def _respond(self, point: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The merit, exploitability at this beta, and the best response; shapes (B) and (B, n)."""
        response = self.problem.normalised(self.log_reference + self.problem.answer(point.exp()) / beta)
        return beta[:, 0] * simplex.kl(point, response), response

    def _assign(self, where: Tensor, **values: Tensor) -> None:
        """Set the attributes to `values` for the problems `where`."""
        for name, value in values.items():
            old = getattr(self, name)
            mask = where if old.ndim == 1 else where[:, None]
            setattr(self, name, torch.where(mask, value, old))

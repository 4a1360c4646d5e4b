"""Proximal problems of a game A ~ G N G^T of low rank, by Newton's method.

With s = 1/(beta + 1/lambda), a solution is log anchor + s pull + G theta with theta = s N G^T pi. The Jacobian of
theta - s N G^T pi(theta) is 1 - s N Cov(G), which is never singular. Solutions for growing s form a path, which
Newton's method follows where its first attempt, from the last query, fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlhf.algorithms.secant_model import constants
from nlhf.numerics import simplex, threads

if TYPE_CHECKING:
    from torch import Tensor

NEWTON_STEPS, MOST_STEPS = 8, 60  # per point of the path, in total
ACCURACY = 1e-3  # of a solution, as a share of the model error that identity (M) allows


class Path:
    """Solutions of the model's proximal problems for growing steps, for a batch of B problems.

    Args:
        features, form: G^T (B, 2m, n) and N^T (B, 2m, 2m).
        anchor: log-probabilities (B, 1, n).
        pull: beta (log ref - log anchor), and what the model lacks of the last answer, (B, 1, n).
        beta, step_size: (B, 1, 1).
        start: G^T pi for the first point pi of Newton's method for `step_size`; if that fails, the path starts at the
            anchor.
    """

    theta: Tensor
    point: Tensor
    mass: Tensor
    mean: Tensor
    gap: Tensor
    error: Tensor
    active: Tensor  # in `follow`: the problems that are not finished
    steps: Tensor  # Newton steps for the current s

    def __init__(
        self,
        features: Tensor,
        form: Tensor,
        anchor: Tensor,
        pull: Tensor,
        beta: Tensor,
        step_size: Tensor,
        start: Tensor,
    ) -> None:
        self.features, self.form, self.anchor, self.pull, self.beta = features, form, anchor, pull, beta
        self.identity = constants(form.shape[-1], form.dtype, form.device)[0].expand_as(form)
        self.step_size, self.s = step_size, (beta + step_size.reciprocal()).reciprocal()
        vars(self).update(self.look(start.bmm(form) * self.s, self.s))

    def look(self, theta: Tensor, s: Tensor) -> dict[str, Tensor]:
        """The policy at theta, the means of G, theta minus that of the response, the KL from policy to response."""
        point = (self.anchor + s * self.pull).baddbmm(theta, self.features).log_softmax(-1)
        mass = point.exp()
        mean = mass.bmm(self.features.mT)
        gap = theta - mean.bmm(self.form) * s
        error = simplex.kl_to_tilted(mass, gap.bmm(self.features) - gap.bmm(mean.mT))
        return {"theta": theta, "point": point, "mass": mass, "mean": mean, "gap": gap, "error": error}

    def result(self) -> tuple[Tensor, Tensor]:
        """The solution (B, 1, n) for `step_size`, or for the longest step (B, 1, 1) that was solved, and that step."""
        first = self.look(self.theta - self.solve(self.covariance()[0], self.gap), self.s)
        if (first["error"] <= 0.9 * self.error).all().item():
            vars(self).update(first)
            if self.solves().all().item():
                return self.point, self.step_size
            return self.follow(attempts=1)
        return self.follow(attempts=0)

    def covariance(self) -> tuple[Tensor, Tensor]:
        """Cov(G), and G weighted by the probabilities."""
        weighted = self.features * self.mass
        return weighted.bmm(self.features.mT).baddbmm(self.mean.mT, self.mean, alpha=-1), weighted

    def solve(self, covariance: Tensor, right: Tensor) -> Tensor:
        """d of d (1 - s Cov N^T) = right, all (B, 1, 2m)."""
        jacobian = self.identity.baddbmm(self.form.mT * self.s, covariance, alpha=-1)
        return threads.solve(jacobian, right.mT).mT

    def newton_step(self) -> None:
        """One damped Newton step: shortened until the error falls by a tenth of the prediction."""
        direction = self.solve(self.covariance()[0], self.gap)
        waiting, self.stalled, self.steps = self.active, self.active, self.steps + 1
        for halvings in range(6):
            length = 3.0**-halvings
            values = self.look(self.theta - length * direction, self.s)
            taken = waiting & (values["error"] <= (1 - 0.1 * length) * self.error)
            self.put(taken, **values)
            self.stalled = waiting = waiting & ~taken
            if not waiting.any():
                break

    def solves(self) -> Tensor:
        """True where the point is a solution for s, (B, 1, 1)."""
        moved = self.point - self.anchor
        moved = simplex.kl_to_tilted(self.mass, moved - self.mass.bmm(moved.mT))
        slack = (1 - self.s * self.beta).clamp(min=1e-12)  # 1/(1 + lambda beta)
        return self.error <= ACCURACY * slack * moved + 1e-30

    def follow(self, attempts: int) -> tuple[Tensor, Tensor]:
        """`result`, where so many Newton steps did not solve all problems."""
        self.goal, self.first = self.s, (self.beta + 1).reciprocal()
        self.solved = self.s * 0
        self.steps = self.solved + attempts
        self.active, self.stride = self.solved == 0, self.solved + 16.0
        self.solved_theta = self.tangent = self.theta * 0
        self.solution = self.anchor
        self.stalled = ~self.active
        for count in range(MOST_STEPS):
            if count >= attempts:
                self.newton_step()
            solved = self.solves()
            forward = self.active & solved
            self.put(forward, solved=self.s, solved_theta=self.theta, solution=self.point)
            failed = self.active & ~solved & (self.stalled | (self.steps >= NEWTON_STEPS))
            self.active = self.active & ~(solved & (self.s >= self.goal))
            if count + 1 == MOST_STEPS or not self.active.any():
                break
            forward = forward & self.active
            if (forward | failed).any():
                self.move_on(forward, failed)
        shorter = (self.solved.reciprocal() - self.beta).clamp(min=1e-12).reciprocal()
        return self.solution, self.step_size.where(self.solved >= self.goal, shorter)

    def move_on(self, forward: Tensor, failed: Tensor) -> None:
        """Continue along the tangent from solved points; retry failed ones with a shorter step."""
        if forward.any():
            covariance, weighted = self.covariance()
            pulled = self.pull.bmm(weighted.mT) - self.pull.bmm(self.mass.mT) * self.mean
            longer = (self.stride**1.5).where(self.steps <= 3, self.stride).clamp(max=100.0)
            right = (self.mean + self.s * pulled).bmm(self.form)
            self.put(forward, tangent=self.solve(covariance, right), stride=longer)
        begun = self.solved > 0
        self.put(failed & begun, stride=self.stride.sqrt())
        retried = failed & ~begun
        at_anchor = self.anchor.exp().bmm(self.features.mT).bmm(self.form)
        self.put(retried & (self.s < self.goal), first=self.first / 4)
        self.put(retried, tangent=at_anchor)
        self.active = self.active & ~(failed & ((self.stride < 1.02) | (self.first < 1e-3)))
        s = (self.solved * self.stride).where(begun, self.first).minimum(self.goal)
        values = self.look(self.solved_theta + (s - self.solved) * self.tangent, s)
        self.put(forward | failed, s=s, steps=self.steps * 0, stalled=self.stalled & False, **values)

    def put(self, where: Tensor, **values: Tensor) -> None:
        """Set attributes to `values` for the problems `where`."""
        everywhere = bool(where.all())
        for name, value in values.items():
            setattr(self, name, value if everywhere else value.where(where, getattr(self, name)))

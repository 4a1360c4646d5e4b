"""A model of the game: the smallest skew-symmetric matrix that gives all answers so far, and its proximal problems.

A is linear: answers Y = A P about policies P hold for all their combinations, and by skew-symmetry p.A d = -d.(A p)
for any d. With weights w on the actions and Q an orthonormal basis of P/sqrt(w), Z = A sqrt(w) Q, K = Q.sqrt(w) Z, the
matrix of least Frobenius norm of sqrt(w) A sqrt(w) is A ~ G N G^T, G = [Q/sqrt(w), Z], N = [[-K, -1], [1, 0]].
A solution of its proximal problem is log anchor + s beta (log ref - log anchor) + G theta with theta = s N G^T pi and
s = 1/(beta + 1/lambda): Newton's method in theta, whose Jacobian 1 - s N Cov(G) is never singular, along a path in s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlhf.numerics import simplex

if TYPE_CHECKING:
    from torch import Tensor

NOVEL = 1e-7  # a policy whose relative part outside the span of the others is smaller adds noise only
NEWTON_STEPS, MOST_STEPS = 8, 60  # per point of the path, in total
ACCURACY = 1e-3  # of a solution, as a share of the model error that identity (M) allows


def smallest_game(policies: Tensor, answers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """G (B, n, 2m) and N (B, 2m, 2m) of probabilities and answers (B, m, n), the newest first, and weights (B, n)."""
    import torch

    root = weights.clamp(min=1e-300).sqrt()[:, None]
    basis, images = policies / root, answers.clone()
    noise = policies.new_zeros(policies.shape[:2])  # squared relative error of each image
    for i in range(basis.shape[1]):
        first, image = basis[:, i].clone(), images[:, i].clone()
        part, size = first, product(first, first)
        spread = size
        for _ in range(2):
            shares = simplex.products(basis[:, :i], part)
            part, image = (
                part - simplex.products(basis[:, :i].mT, shares),
                image - simplex.products(images[:, :i].mT, shares),
            )
            spread = spread + product(shares**2, noise[:, :i])
        residual = product(part, part)
        scale = (1 / residual.sqrt()).where(residual > NOVEL**2 * size, 0.0)  # zero: adds nothing
        basis[:, i], images[:, i] = part * scale, image * scale
        noise[:, i] = (spread * scale**2)[:, 0].where(scale[:, 0] > 0, 1e30)
    inner = (basis * root) @ images.mT
    share = noise[:, :, None] / (noise[:, :, None] + noise[:, None, :])  # weight of the better estimate of p.A q
    inner = share * inner
    inner = inner - inner.mT
    one = torch.eye(inner.shape[-1]).to(inner).expand_as(inner)
    form = torch.cat([torch.cat([-inner, -one], -1), torch.cat([one, torch.zeros_like(one)], -1)], -2)
    return torch.cat([basis / root, images], 1).mT.contiguous(), form


class Path:
    """Solutions of the model's proximal problems for growing steps, for a batch of B problems.

    Args:
        features, form: G and N.
        anchor, reference: log-probabilities (B, n).
        beta, step_size: (B, 1).
        start: initial point of Newton's method for `step_size`; if that fails, the path starts at the anchor.
    """

    def __init__(
        self,
        features: Tensor,
        form: Tensor,
        anchor: Tensor,
        reference: Tensor,
        beta: Tensor,
        step_size: Tensor,
        start: Tensor,
    ) -> None:
        self.features, self.form, self.anchor, self.beta = features, form, anchor, beta
        self.pull = beta * (reference - anchor)
        self.goal = self.s = 1 / (beta + 1 / step_size)
        self.theta = self.s * self.turned(start.exp())
        self.point, self.answer, self.error = self.look(self.theta, self.s)
        self.solved, self.solved_theta, self.solution = self.s * 0, self.theta * 0, anchor
        self.tangent = self.turned(anchor.exp())
        self.stride, self.first = self.s * 0 + 16.0, 1 / (beta + 1)
        self.steps = self.error * 0
        self.active = self.error == self.error.abs()
        self.stalled = ~self.active

    def turned(self, probabilities: Tensor) -> Tensor:
        """N G^T pi."""
        return simplex.products(self.form, simplex.products(self.features.mT, probabilities))

    def look(self, theta: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The policy at theta, the theta of its response, and the KL from policy to response."""
        base = self.anchor + s * self.pull
        point = (base + simplex.products(self.features, theta)).log_softmax(-1)
        answer = s * self.turned(point.exp())
        response = (base + simplex.products(self.features, answer)).log_softmax(-1)
        return point, answer, simplex.kl(point, response).nan_to_num(float("inf"))

    def solve(self, right: Tensor, covariance: Tensor) -> Tensor:
        """(1 - s N Cov) d = right."""
        import torch

        jacobian = torch.eye(right.shape[-1]).to(right) - self.s[..., None] * (self.form @ covariance)
        solved: Tensor = torch.linalg.solve_ex(jacobian, right[..., None])[0][..., 0]
        return solved.nan_to_num(0.0, 0.0, 0.0)

    def covariance(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Cov(G), and Cov(G, vector) of a vector (B, n)."""
        mass = self.point.exp()
        weighted = self.features * mass[..., None]
        mean = weighted.sum(1)
        centred = vector - product(mass, vector)
        return weighted.mT @ self.features - mean[..., None] * mean[:, None], simplex.products(weighted.mT, centred)

    def newton_step(self) -> None:
        """One damped Newton step: shortened until the error falls by a tenth of the prediction."""
        direction = self.solve(self.answer - self.theta, self.covariance(self.pull)[0])
        length, waiting = self.s * 0 + 1, self.active
        for _ in range(6):
            theta = self.theta + length * direction
            point, answer, error = self.look(theta, self.s)
            taken = waiting & (error <= (1 - 0.1 * length[:, 0]) * self.error)
            self.put(taken, theta=theta, point=point, answer=answer, error=error)
            waiting = waiting & ~taken
            if not waiting.any():
                break
            length = length / 3
        self.stalled, self.steps = waiting, self.steps + 1

    def follow(self) -> tuple[Tensor, Tensor]:
        """The solution (B, n) for `step_size`, or for the longest step (B, 1) that was solved, and that step."""
        for count in range(MOST_STEPS + 1):
            slack = (1 - self.s * self.beta)[:, 0].clamp(min=1e-12)  # 1/(1 + lambda beta)
            solved = self.error <= ACCURACY * slack * simplex.kl(self.point, self.anchor) + 1e-30
            forward, failed = (
                self.active & solved,
                self.active & ~solved & (self.stalled | (self.steps >= NEWTON_STEPS)),
            )
            self.put(forward, solved=self.s, solved_theta=self.theta, solution=self.point)
            self.active = self.active & ~(solved & (self.s >= self.goal)[:, 0])
            forward = forward & self.active
            if count == MOST_STEPS or not self.active.any():
                break
            if (forward | failed).any():
                self.move_on(forward, failed)
            self.newton_step()
        return self.solution, 1 / (1 / self.solved - self.beta).clamp(min=1e-12)

    def move_on(self, forward: Tensor, failed: Tensor) -> None:
        """Continue along the tangent from solved points; retry failed ones with a shorter step."""
        if forward.any():
            covariance, pulled = self.covariance(self.pull)
            right = self.turned(self.point.exp()) + self.s * simplex.products(self.form, pulled)
            longer = (self.stride**1.5).where((self.steps <= 3)[:, None], self.stride).clamp(max=100.0)
            self.put(forward, tangent=self.solve(right, covariance), stride=longer)
        begun = self.solved[:, 0] > 0
        self.put(failed & begun, stride=self.stride.sqrt())
        self.put(failed & ~begun & (self.s < self.goal)[:, 0], first=self.first / 4)
        self.active = self.active & ~(failed & ((self.stride < 1.02) | (self.first < 1e-3))[:, 0])
        s = (self.solved * self.stride).where(self.solved > 0, self.first).minimum(self.goal)
        theta = self.solved_theta + (s - self.solved) * self.tangent
        point, answer, error = self.look(theta, s)
        self.put(
            forward | failed,
            s=s,
            theta=theta,
            point=point,
            answer=answer,
            error=error,
            steps=self.steps * 0,
            stalled=self.stalled & False,
        )

    def put(self, where: Tensor, **values: Tensor) -> None:
        """Set attributes to `values` for the problems `where`."""
        for name, value in values.items():
            old = getattr(self, name)
            setattr(self, name, value.where(where if old.ndim == 1 else where[:, None], old))


def product(first: Tensor, second: Tensor) -> Tensor:
    """Batched inner products (B, n), (B, n) -> (B, 1)."""
    return (first * second).sum(-1, keepdim=True)

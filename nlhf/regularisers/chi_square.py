"""The chi-square divergence R(pi) = sum (pi - ref)^2/(2 ref).

A proximal step satisfies beta pi_y/ref_y + log(pi_y)/step_size = q_y - nu with q = gain + beta + log(anchor)/step_size.
With Wright's omega W and v = step_size beta pi/ref,

    v = W(log(step_size beta/ref) + step_size (q - nu))

Without an anchor, pi = ref max(1 + (gain - nu)/beta, 0), which may be 0. (arXiv:2503.00030)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlhf.numerics.wright_omega import wright_omega
from nlhf.regularisers.base import Regulariser, Response
from nlhf.regularisers.normaliser import normalised

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ChiSquare(Regulariser):
    """The chi-square divergence. Its second derivative 1/ref can be far below that of KL, 1/pi: sigma = 0.

    A policy q has sigma = min(q/ref)/2, as KL(p || q) <= sum (p - q)^2/q.
    """

    def value(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.divergence(policy, reference, reference)

    def slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return (policy - reference).expm1()

    def inverse_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        return reference.exp().where(policy > -float("inf"), 0.0)

    def barrier(self, reference: Tensor) -> Tensor:
        return reference * 0

    def finite_slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.slope(policy, reference)

    def finite_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        return (-reference).exp()

    def divergence(self, first: Tensor, second: Tensor, reference: Tensor) -> Tensor:
        difference, mass = first - second, second.exp()
        moved = (mass * difference.expm1()).where(difference.abs() < 1, first.exp() - mass)
        return (moved**2 / (2 * reference.exp())).sum(-1)

    def convexity(self, reference: Tensor) -> float:
        return 0.0

    def convexity_at(self, policy: Tensor, reference: Tensor) -> Tensor:
        return (policy - reference).amin(-1, keepdim=True).exp() / 2

    def weights(self, beta: Tensor, step_size: Tensor) -> tuple[Any, ...]:
        free = step_size.isinf()
        return beta, step_size.where(~free, 1.0), free if bool(free.any()) else None

    def step(self, anchor: Tensor, reference: Tensor, gain: Tensor, *weights: Any) -> Tensor:
        beta, step_size, free, _ = weights
        if free is not None and bool(free.all()):
            return self.response(gain, reference, beta).log_policy
        solution = _anchored(step_size * gain + anchor, reference, step_size * beta)
        return solution if free is None else self.response(gain, reference, beta).log_policy.where(free, solution)

    def response(self, gain: Tensor, reference: Tensor, beta: Tensor) -> Response:
        scores, mass = gain / beta, reference.exp()
        scores = scores - scores.amax(-1, keepdim=True)

        def curve(nu: Tensor) -> tuple[Tensor, Tensor]:
            ratio = (1 + scores - nu).clamp(min=0)
            return reference + ratio.log(), -1 / ratio.where(ratio > 0, 1.0)

        lower = (scores + 1 - 1 / mass).amax(-1, keepdim=True)
        upper = (scores + 1 - 1 / (mass * scores.shape[-1])).amax(-1, keepdim=True)
        log_policy, nu = normalised(curve, lower, upper, log_convex=False)
        return Response(log_policy, beta * (nu - 1 - scores).clamp(min=0))


def _anchored(levels: Tensor, reference: Tensor, strength: Tensor) -> Tensor:
    """The step for a finite step size; `levels` are step_size gain + log anchor, `strength` is step_size beta."""
    levels = levels - levels.amax(-1, keepdim=True)
    log_unit = reference - strength.log()  # log(pi/v)
    unit = log_unit.exp()

    def curve(nu: Tensor) -> tuple[Tensor, Tensor]:
        u = levels - nu - log_unit
        v = wright_omega(u)
        return log_unit + (u - v).where(v < 1, v.log()), -1 / (1 + v)

    count = levels.shape[-1]
    lower = (levels - 1 / unit).amax(-1, keepdim=True)
    upper = (levels - 1 / (unit * count)).amax(-1, keepdim=True) + levels.new_tensor(float(count)).log()
    return normalised(curve, lower, upper, log_convex=False)[0]

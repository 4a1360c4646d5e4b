"""The number nu that normalises the solution of a proximal problem, batched over seeds and contexts.

Every solution has log pi_y(nu), decreasing in nu. At lower = max_y of the nu with pi_y(nu) = 1, the mass is at least 1;
at upper = max_y of the nu with pi_y(nu) = 1/n, at most 1. Both the mass and, where `log_convex`, its logarithm are
convex in nu, so Newton's method from `lower` rises to the root without passing it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STEPS, MASS = 100, 1e-14  # the most steps, and the log mass below which the root is exact to rounding


def normalised(
    curve: Callable[[Tensor], tuple[Tensor, Tensor]], lower: Tensor, upper: Tensor, log_convex: bool
) -> tuple[Tensor, Tensor]:
    """The normalised log-probabilities (..., n) of a curve, and their nu (..., 1).

    Args:
        curve: nu -> log pi(nu) and its derivative by nu, both (..., n).
        lower, upper: a bracket of the root, (..., 1).
        log_convex: True if the logarithm of the mass is convex; otherwise the mass is.
    """
    nu = lower
    for _ in range(STEPS):
        log_policy, slope = curve(nu)
        log_mass = log_policy.logsumexp(-1, keepdim=True)
        if (log_mass <= MASS).all():
            break
        fall = ((log_policy - log_mass).exp() * slope).sum(-1, keepdim=True)
        excess = log_mass if log_convex else -(-log_mass).expm1()
        nu = (nu - excess / fall).where(log_mass > MASS, nu).minimum(upper)
    return log_policy - log_mass, nu

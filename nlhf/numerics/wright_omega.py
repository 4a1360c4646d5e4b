"""Wright's omega function on the real line, the solution v of v + log v = u.

Two steps of fourth order from a piecewise first guess give it to rounding (P. W. Lawrence, R. M. Corless, D. J.
Jeffrey, Algorithm 917, ACM Transactions on Mathematical Software 38, 2012). Only tensor methods are used, so that it
runs on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LEAST = -700.0  # exp(u) is the solution to rounding far above it, and 0 in float64 below


def wright_omega(u: Tensor) -> Tensor:
    """The positive solution v of v + log v = u; below exp(-700), which is almost 0, it returns exp(-700)."""
    u = u.clamp(min=LEAST)
    middle = ((u - 1) * (2 / 3)).clamp(max=1).exp()
    large = u.clamp(min=1)
    v = u.exp().where(u < -2, middle.where(u < 2, large - large.log()))
    for _ in range(2):
        residual = u - v - v.log()
        width = 1 + v
        scaled = width * (width + residual * (2 / 3))
        v = v * (1 + residual / width * (scaled - residual / 2) / (scaled - residual))
    return v

"""Numbers and p-values as short texts."""

from __future__ import annotations

import math


def number(value: float, digits: int = 3) -> str:
    """The number with `digits` significant digits: 1e-6, 0.05, 1,250, 4.7."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞"
    if 10**digits - 0.5 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def shown_p(p: float) -> str:
    """The p-value as `p = 0.03` or `p < 0.001`."""
    return "p < 0.001" if p < 1e-3 else f"p = {p:.2g}"

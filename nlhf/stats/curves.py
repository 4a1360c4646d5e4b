"""Numbers of a curve of a metric: the cost to a target, the area, and the rate of the tail."""

from __future__ import annotations

import numpy as np
from scipy import integrate

FLOOR = 1e-33  # smaller values count as this one, since the logarithm of an exact zero would hide all others
TAIL = 4  # the tail of a curve begins at this fraction of its cost, 1/4
LINEAR = 0.99  # share of the variance that a straight line must explain
ROUNDING = 1e-26  # smaller values of a metric are too noisy for a rate


def cost_to_target(cost: np.ndarray, metric: np.ndarray, target: float, upper: np.ndarray | None = None) -> float:
    """The cost at which the curve first reaches the target; else nan.

    Args:
        cost: of each row, (n).
        metric: (n), exact, or estimated from a sample.
        target: the value to reach.
        upper: for an estimated metric, upper confidence bounds that hold for all rows at once, (n). The target is then
            reached at the first row whose bound is below it. Without `upper` the metric is exact, and the cost is
            interpolated in ln(metric) between the two rows around the target.
    """
    below = np.flatnonzero(metric <= target if upper is None else upper < target)
    if not len(below):
        return float("nan")
    row = int(below[0])
    if row == 0 or upper is not None or not np.isfinite(metric[row - 1]):
        return float(cost[row])
    before, after = np.log(metric[row - 1]), np.log(max(metric[row], FLOOR))
    return float(cost[row - 1] + (cost[row] - cost[row - 1]) * (before - np.log(target)) / (before - after))


def area(cost: np.ndarray, logs: np.ndarray, horizon: float) -> float:
    """The mean of `logs` over log10(cost), from the first cost above 0 to `horizon`.

    The trapezoidal rule is used; the last value continues up to the horizon.
    """
    positive = cost > 0
    if not positive.any():
        return float("nan")
    log_cost, values = np.log10(cost[positive]), logs[positive]
    if horizon > cost[-1]:
        log_cost, values = np.append(log_cost, np.log10(horizon)), np.append(values, values[-1])
    length = log_cost[-1] - log_cost[0]
    return float(integrate.trapezoid(values, log_cost) / length) if length > 0 else float(values[-1])


def tail_rate(cost: np.ndarray, metric: np.ndarray, line: float = LINEAR, smallest: float = ROUNDING) -> float:
    """-d ln(metric)/d cost of the least-squares line through the tail of a curve.

    The tail begins at a quarter of the last cost whose value is above `smallest`. nan if the tail has fewer than four
    rows, or if a line explains less than `line` of its variance: a power law, a cycle or a plateau has no linear rate.
    """
    usable = np.isfinite(metric) & (metric > smallest)
    if not usable.any():
        return float("nan")
    usable &= cost >= cost[usable][-1] / TAIL
    x, y = cost[usable], np.log(metric[usable])
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    slope, level = np.polyfit(x, y, 1)
    unexplained = ((y - level - slope * x) ** 2).sum()
    return float(-slope) if unexplained <= (1 - line) * ((y - y.mean()) ** 2).sum() else float("nan")

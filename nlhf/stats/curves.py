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
    row = _passage(metric, target, upper)
    if row is None:
        return float("nan")
    if row == 0 or upper is not None or not np.isfinite(metric[row - 1]):
        return float(cost[row])
    before, after = np.log(metric[row - 1]), np.log(max(metric[row], FLOOR))
    return float(cost[row - 1] + (cost[row] - cost[row - 1]) * (before - np.log(target)) / (before - after))


def rows_around(
    cost: np.ndarray, metric: np.ndarray, target: float, upper: np.ndarray | None = None
) -> tuple[float, float]:
    """The costs of the last row before the target is reached and of the row that reaches it; nan if none does.

    The arguments are those of `cost_to_target`.
    """
    row = _passage(metric, target, upper)
    return (float("nan"), float("nan")) if row is None else (float(cost[max(row - 1, 0)]), float(cost[row]))


def _passage(metric: np.ndarray, target: float, upper: np.ndarray | None) -> int | None:
    """The first row that reaches the target, or None."""
    below = np.flatnonzero(metric <= target if upper is None else upper < target)
    return int(below[0]) if len(below) else None


def value_at(cost: np.ndarray, logs: np.ndarray, horizon: float) -> float:
    """The value of a curve at a cost, interpolated between rows; the first or last value outside the curve."""
    finite = np.isfinite(logs)
    return float(np.interp(horizon, cost[finite], logs[finite])) if finite.any() else float("inf")


def area(cost: np.ndarray, logs: np.ndarray, start: float, horizon: float) -> float:
    """The mean of `logs` over log10(cost) between two costs > 0, by the trapezoidal rule; at `horizon` if it is lower.

    The first value continues down to `start` and the last one up to `horizon`, so that curves of methods with expensive
    steps are compared over the same costs.
    """
    if horizon <= start:
        return float(np.interp(horizon, cost, logs))
    inside = (cost > start) & (cost < horizon)
    at = np.concatenate([[start], cost[inside], [horizon]])
    values = np.interp(at, cost, logs)
    log_cost = np.log10(at)
    return float(integrate.trapezoid(values, log_cost) / (log_cost[-1] - log_cost[0]))


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

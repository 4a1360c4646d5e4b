"""Win rates of two methods at equal KL divergence to the reference, along the rows of their runs.

A row of a run is a point: the mean KL divergence and the mean win rate over the test prompts. Between two rows the win
rate is interpolated linearly in the root of the divergence, in which the gain of optimised policies is close to linear
at first (L. Gao, J. Schulman, J. Hilton, arXiv:2210.10760). Where a run reaches a divergence several times, its first
time counts. Methods are compared at the largest divergence that all runs reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from nlhf.stats.bootstrap import NONE, Estimate, expanded_tail, quantiles, redrawn
from nlhf.stats.clusters import FEWEST_UNBOUNDED


@dataclass(frozen=True, eq=False)
class Curve:
    """What a run's R rows measure on X test prompts.

    Args:
        divergences: KL divergence to the reference, (R, X).
        wins: win rate against the reference, (R, X).
    """

    divergences: np.ndarray
    wins: np.ndarray

    def means(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean divergences and win rates, (B, R) each, for weights of the prompts (B, X) that sum to 1."""
        return weights @ self.divergences.T, weights @ self.wins.T


@dataclass(frozen=True)
class EqualDivergence:
    """Two methods at one divergence.

    Args:
        divergence: the largest that all runs reach.
        rates: the win rates of both methods there, means over their runs.
        difference: of these, with its interval over prompts.
        p: two-sided p-value of the difference.
    """

    divergence: float
    rates: tuple[float, float]
    difference: Estimate
    p: float


def at_equal_divergence(first: Sequence[Curve], second: Sequence[Curve]) -> EqualDivergence | None:
    """Two methods' runs on the same prompts; None if some run stays at the reference.

    Prompts are redrawn together for all rows of all runs (paired bootstrap), and the largest common divergence is
    found anew for each draw. Interval and p-value are nan for fewer than 20 prompts.
    """
    prompts = first[0].wins.shape[1]
    reached, rates = _rates(first, second, np.full((1, prompts), 1 / prompts))
    if not reached[0] > 0:
        return None
    difference = float(rates[0, 0] - rates[0, 1])
    ends, p = NONE, float("nan")
    if prompts >= FEWEST_UNBOUNDED:
        _, drawn = _rates(first, second, redrawn(prompts) / prompts)
        differences = drawn[:, 0] - drawn[:, 1]
        ends, p = quantiles(differences, expanded_tail(prompts, prompts - 1)), _p_value(differences, prompts)
    estimate = Estimate(difference, *ends, float(prompts))
    return EqualDivergence(float(reached[0]), (float(rates[0, 0]), float(rates[0, 1])), estimate, p)


def _rates(first: Sequence[Curve], second: Sequence[Curve], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest common divergence (B) and both win rates there (B, 2), for weights (B, X)."""
    means = [[curve.means(weights) for curve in side] for side in (first, second)]
    reached = np.min([divergence.max(1) for side in means for divergence, _ in side], axis=0)
    rates = [np.mean([win_rate_at(*points, reached) for points in side], axis=0) for side in means]
    return reached, np.stack(rates, 1)


def win_rate_at(divergences: np.ndarray, wins: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Interpolated win rates (B) at divergences `reached` (B), from those of R rows, (B, R)."""
    number = np.arange(len(reached))
    after = (divergences >= reached[:, None]).argmax(1)
    before = np.maximum(after - 1, 0)
    roots = np.sqrt(np.maximum(divergences, 0))
    start, width = roots[number, before], roots[number, after] - roots[number, before]
    part = np.divide(np.sqrt(reached) - start, width, out=np.ones_like(width), where=width > 0)
    return np.asarray((1 - part) * wins[number, before] + part * wins[number, after])


def _p_value(drawn: np.ndarray, prompts: int) -> float:
    """The level at which the expanded percentile interval of drawn differences ends at 0."""
    share = min((drawn <= 0).mean(), (drawn >= 0).mean())
    share = max(float(share), 0.5 / len(drawn))
    scale = np.sqrt((prompts - 1) / prompts)
    return min(1.0, 2 * float(special.stdtr(prompts - 1, special.ndtri(share) * scale)))

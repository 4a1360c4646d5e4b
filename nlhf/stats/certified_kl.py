"""The policy with the smallest certified exploitability where a KL term keeps it close to a reference.

With gains G(pi) >= A pi, the certified exploitability of pi is

    max_mu  mu.G(pi) - beta KL(mu || ref) + beta KL(pi || ref),

convex in pi and concave in mu. Mirror prox (arXiv:0809.0815) finds the saddle point; its two KL terms are part of the
steps, as in Nash-MP. Every policy that it visits has a valid bound, and the best of them is returned.
"""

from __future__ import annotations

import numpy as np

from nlhf.stats.certified import VoteBounds

STEPS = 200
CHECK = 10  # steps between two evaluations of the bound
TINY = 1e-150
ACCURACY = 1e-3  # improvement of the bound between two evaluations below which the search ends, relative


def best_regularised(
    bounds: VoteBounds, beta: float, reference: np.ndarray, unregularised: np.ndarray
) -> tuple[np.ndarray, float]:
    """The policy (n) with the smallest certified exploitability that the search finds, and that exploitability.

    Args:
        beta: of the KL term, > 0.
        reference: probabilities (n), positive.
        unregularised: the best policy at beta = 0, (n).
    """
    tables = [(bounds.upper, np.zeros_like(bounds.upper))]
    if bounds.spread is not None:
        tables.append((bounds.advantages, bounds.spread))
    candidates = [unregularised, *(_saddle_point(bounds, pair, beta, reference) for pair in tables)]
    values = [bounds.exploitability(policy, beta, reference) for policy in candidates]
    best = int(np.argmin(values))
    return candidates[best], values[best]


def _saddle_point(
    bounds: VoteBounds, tables: tuple[np.ndarray, np.ndarray], beta: float, reference: np.ndarray
) -> np.ndarray:
    """The best policy that mirror prox visits from the reference, for gains R pi + sqrt(V pi^2).

    Args:
        tables: R and V, (n, n) each.
    """
    rows, spread = tables
    best, smallest = reference, bounds.exploitability(reference, beta, reference)
    policy = opponent = log_reference = np.log(reference)
    size = 1 / max(0.5, float(np.abs(rows).max() + np.sqrt(spread.max())))  # no derivative of a gain is larger
    tilt, scale = size * beta * log_reference, 1 + size * beta

    def moved(start: np.ndarray, ascent: np.ndarray) -> np.ndarray:
        log_weights = (start + tilt + size * ascent) / scale
        return np.asarray(log_weights - np.logaddexp.reduce(log_weights))

    def ascents(policy: np.ndarray, opponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pi, mu = np.exp(policy), np.exp(opponent)
        root = np.sqrt(spread @ pi**2)
        return -(mu @ rows + (mu / np.maximum(root, TINY)) @ spread * pi), rows @ pi + root

    for step in range(1, STEPS + 1):
        down, up = ascents(policy, opponent)
        down, up = ascents(moved(policy, down), moved(opponent, up))
        policy, opponent = moved(policy, down), moved(opponent, up)
        if step % CHECK == 0:
            before, value = smallest, bounds.exploitability(np.exp(policy), beta, reference)
            if value < smallest:
                best, smallest = np.exp(policy), value
            if before - value < ACCURACY * smallest and step > 2 * CHECK:
                break
    return best

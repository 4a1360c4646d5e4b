"""Temperatures: the factors by which a judge's held-out logits must be divided to fit the votes best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nlhf.numerics.bradley_terry import sigmoid

if TYPE_CHECKING:
    from nlhf.judges.text_votes import TextVotes

PRIOR = 20.0  # weight of the expected temperature, in pairs


def temperatures(logits: np.ndarray, votes: TextVotes, voters: dict[str, int], balance: bool) -> list[float]:
    """The temperature of all voters together, and of every group of voters.

    The fewer votes a group has, the closer its temperature is to that of all groups.

    Args:
        logits: by each pair's own voters and, if there are groups, by all of them, (1 or 2, n).
    """
    weight = pair_weights(votes, balance)
    shared = fit_temperature(logits[0], votes, weight)
    scales = [fit_temperature(logits[-1], votes, weight)]
    for name in voters:
        chosen = votes.sources == name
        group = votes.at(chosen)
        scales.append(fit_temperature(logits[0][chosen], group, pair_weights(group, balance), shared))
    return scales


def fit_temperature(logits: np.ndarray, votes: TextVotes, weight: np.ndarray, expected: float = 1.0) -> float:
    """The temperature in [1/10, 10] that minimises the log-loss of held-out logits.

    A prior of PRIOR pairs has the votes that the expected temperature predicts. The log-loss is convex in the inverse
    temperature, so its derivative increases and bisection finds the root.
    """
    if not len(logits):
        return expected
    low, high, prior = 0.1, 10.0, sigmoid(logits / expected)
    for _ in range(60):
        middle = (low * high) ** 0.5
        predicted = logits * sigmoid(middle * logits)
        slope = float((weight * (predicted - logits * votes.share)).sum() + PRIOR * (predicted - logits * prior).mean())
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / (low * high) ** 0.5)


def pair_weights(votes: TextVotes, balance: bool) -> np.ndarray:
    """The weight of every pair (n), with mean 1: its number of votes; with `balance`, all sources weigh the same."""
    weight = votes.number.copy()
    if balance:
        for source in np.unique(votes.sources):
            weight[votes.sources == source] /= weight[votes.sources == source].sum()
    return np.asarray(weight / weight.mean())

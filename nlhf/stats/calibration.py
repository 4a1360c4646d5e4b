"""How well predicted probabilities match the shares of votes."""

from __future__ import annotations

import numpy as np

Bin = tuple[float, float, float]  # mean probability, share of the votes, number of votes


def calibration(
    probability: np.ndarray, share: np.ndarray, votes: np.ndarray, bins: int = 10
) -> tuple[float, list[Bin]]:
    """The expected calibration error, and the bins behind it, which hold equally many pairs.

    Every pair counts in both orders.

    Args:
        probability: the predicted P(first > second), (n).
        share: the share of votes for the first, (n).
        votes: the number of votes, (n).
    """
    probability, share = (np.concatenate([values, 1 - values]) for values in (probability, share))
    votes = np.tile(votes, 2)
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(probability)))
    table = [
        (
            float(np.average(probability[part], weights=votes[part])),
            float(np.average(share[part], weights=votes[part])),
            float(votes[part].sum()),
        )
        for part in parts
    ]
    return sum(size * abs(predicted - actual) for predicted, actual, size in table) / votes.sum(), table

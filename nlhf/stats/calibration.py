"""How well predicted probabilities match the shares of votes.

The calibration error is the mean over votes of |probability - share| of their bin. It is above 0 by chance also for a
perfect judge: its floor is the mean error of a judge with the same probabilities, if these were true.

Its interval follows from the triangle inequality: the errors of two sets of bins differ by at most the mean distance of
the bins. The 95% quantile q of that distance is taken from redrawn clusters (prompts), and from the perfect judge where
that is larger, since bins whose votes all agree do not vary when they are redrawn. The interval is error +- q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from nlhf.stats.bootstrap import FEWEST, LEVEL, Estimate, redrawn

DRAWS = 400
Bin = tuple[float, float, float]  # mean probability, share of the votes, number of votes


@dataclass(frozen=True)
class CalibrationError:
    """The calibration error with its interval (nan for fewer than five clusters), and that of a perfect judge."""

    value: float
    low: float
    high: float
    floor: float

    def __str__(self) -> str:
        return f"{Estimate(self.value, self.low, self.high, 0)}, floor {self.floor:.3f}"


def calibration_error(
    probability: np.ndarray, share: np.ndarray, votes: np.ndarray, groups: np.ndarray, bins: int = 10
) -> CalibrationError:
    """The calibration error of probabilities (n), with its interval over clusters and its floor.

    Args:
        probability, share, votes, bins: as in `calibration`.
        groups: the cluster of each pair, (n).
    """
    signs = np.stack([_both_orders(part, len(probability)) for part in _parts(probability, bins)])
    gaps = votes * (probability - share)
    value = float(np.abs(signs @ gaps).sum() / (2 * votes.sum()))
    perfect = _errors_of_perfect_judge(probability, votes, signs)
    _, cluster = np.unique(groups, return_inverse=True)
    clusters = int(cluster.max()) + 1
    if clusters < FEWEST:
        return CalibrationError(value, float("nan"), float("nan"), float(perfect.mean()))
    sums = np.stack([np.bincount(cluster, row * gaps) for row in signs], 1) / 2
    counts = redrawn(clusters, DRAWS)
    drawn = (counts @ sums) / (counts @ np.bincount(cluster, votes))[:, None]
    distance = np.abs(drawn - sums.sum(0) / votes.sum()).sum(1)
    tail = (1 + LEVEL) / 2
    student = special.stdtrit(clusters - 1, tail) / special.ndtri(tail) * np.sqrt(clusters / (clusters - 1))
    half = max(student * float(np.quantile(distance, LEVEL)), float(np.quantile(perfect, LEVEL)))
    return CalibrationError(value, max(0.0, value - half), min(1.0, value + half), float(perfect.mean()))


def _errors_of_perfect_judge(probability: np.ndarray, votes: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Calibration errors (DRAWS) where the probabilities are true; ties count as votes of either kind."""
    rng, number = np.random.default_rng(0), np.rint(votes).astype(np.int64)
    errors = [np.abs(signs @ (number * probability - rng.binomial(number, probability))).sum() for _ in range(DRAWS)]
    return np.asarray(np.array(errors) / (2 * votes.sum()))


def _parts(probability: np.ndarray, bins: int) -> list[np.ndarray]:
    """The pairs of each bin, the lowest probabilities first; numbers from n on are the pairs in the other order."""
    both = np.concatenate([probability, 1 - probability])
    return np.array_split(np.argsort(both, kind="stable"), min(bins, len(both)))


def _both_orders(part: np.ndarray, n: int) -> np.ndarray:
    """1 for pairs (n) in the bin, -1 for pairs whose other order is, 0 for both or none."""
    return np.asarray(np.bincount(part[part < n], minlength=n) - np.bincount(part[part >= n] - n, minlength=n))


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
    parts = _parts(probability, bins)
    probability, share = (np.concatenate([values, 1 - values]) for values in (probability, share))
    votes = np.tile(votes, 2)
    table = [
        (
            float(np.average(probability[part], weights=votes[part])),
            float(np.average(share[part], weights=votes[part])),
            float(votes[part].sum()),
        )
        for part in parts
    ]
    return sum(size * abs(predicted - actual) for predicted, actual, size in table) / votes.sum(), table

"""Asks about the pairs whose preference a Bradley-Terry model of the votes is least certain of.

The scores have the precision H = prior I + sum_ij N_ij w_ij (e_i - e_j)(e_i - e_j)^T, w_ij = P_ij (1 - P_ij), P from
the fitted scores. A vote on i and j gains the information log(1 + w_ij |e_i - e_j|^2_{H^-1})/2 about the scores, and
goes to the pair with the largest gain. Active preference optimisation (arXiv:2402.10500) asks about the largest norm
|e_i - e_j|_{H^-1}, with one bound of w for all pairs. Where preferences are cyclic the model is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.asking.base import AskingRule
from nlhf.config import ConfigError
from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid

CHOICES = 50  # of pairs in one batch, about


@dataclass(frozen=True)
class BradleyTerryRule(AskingRule):
    """Asks about the pairs with the largest information gain in a Bradley-Terry model.

    Args:
        prior: precision of the normal prior of the scores, > 0.
    """

    prior: float

    sources = ("2402.10500",)

    def __post_init__(self) -> None:
        if not 0 < self.prior < float("inf"):
            raise ConfigError(f"algorithm.rule.prior={self.prior} is out of range: give a positive number such as 1.")

    def numbers(self, wins: np.ndarray, votes: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
        scores = likelihood_scores(wins, self.prior)
        likely = sigmoid(scores[:, None] - scores)
        weight = likely * (1 - likely)
        information = votes * weight
        covariance = np.linalg.inv(np.diag(information.sum(1) + self.prior) - information)
        rows, columns = np.triu_indices(len(votes), 1)
        order = rng.permutation(len(rows))  # breaks ties
        rows, columns = rows[order], columns[order]
        numbers, size = np.zeros(votes.shape, np.int64), max(1, batch // CHOICES)
        for start in range(0, batch, size):
            count = min(size, batch - start)
            variance = covariance[rows, rows] + covariance[columns, columns] - 2 * covariance[rows, columns]
            best = int((weight[rows, columns] * variance).argmax())
            i, j = rows[best], columns[best]
            numbers[i, j] += count
            column = covariance[:, i] - covariance[:, j]
            added = count * weight[i, j]
            covariance = covariance - np.outer(column, column) * (added / (1 + added * variance[best]))
        return numbers

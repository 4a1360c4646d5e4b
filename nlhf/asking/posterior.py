"""A posterior of preference probabilities: Bradley-Terry scores, and deviations of every pair from them.

    s_i ~ N(0, 2^2),  q_ij = sigmoid(s_i - s_j),  P_ij ~ Beta(m q_ij, m (1 - q_ij)),  m uniform among STRENGTHS

Given scores and m, P_ij is again a Beta variable, with its wins and losses added. With a small m every pair has its own
votes alone, with a large one the items are transitive; the votes decide. Scores are drawn from the Laplace
approximation of the Bradley-Terry likelihood, and then m from its likelihood, in which P is integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid

PRECISION = 0.25  # of the normal prior of scores
STRENGTHS = 2.0 ** np.arange(1, 11)  # m, as a number of votes


@dataclass(frozen=True)
class Posterior:
    """The posterior given votes.

    Args:
        wins: of the row's item, ties as halves, (n, n).
        scores: the most likely ones, (n).
        root: its product with its transpose is the covariance of the scores, (n, n).
    """

    wins: np.ndarray
    scores: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, wins: np.ndarray) -> Self:
        """From the wins of the row's item, ties as halves, (n, n)."""
        scores = likelihood_scores(wins, PRECISION)
        likely = sigmoid(scores[:, None] - scores)
        curvature = (wins + wins.T) * likely * likely.T
        precision = np.diag(curvature.sum(1) + PRECISION) - curvature
        return cls(wins, scores, np.linalg.inv(np.linalg.cholesky(precision)).T)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A draw of P, (n, n)."""
        scores = self.scores + self.root @ rng.standard_normal(len(self.scores))
        above = np.triu_indices(len(scores), 1)
        expected = np.clip(sigmoid(scores[:, None] - scores)[above], 1e-6, 1 - 1e-6)
        prior = STRENGTHS[:, None] * np.stack([expected, 1 - expected])[:, None]
        counts = prior + np.stack([self.wins[above], self.wins.T[above]])[:, None]
        likelihood = (special.betaln(*counts) - special.betaln(*prior)).sum(-1)
        strength = rng.choice(len(STRENGTHS), p=special.softmax(likelihood))
        preference = np.full(self.wins.shape, 0.5)
        preference[above] = rng.beta(*counts[:, strength])
        preference.T[above] = 1 - preference[above]
        return preference

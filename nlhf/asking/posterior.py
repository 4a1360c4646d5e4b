"""A posterior of preference probabilities: Bradley-Terry scores, and deviations of every pair from them.

    s_i ~ N(0, d^2),  q_ij = sigmoid(s_i - s_j),  P_ij ~ Beta(m q_ij, m (1 - q_ij)),
    d uniform among DEVIATIONS, m uniform among STRENGTHS

With a small m every pair has its own votes alone, with a large one the items are transitive; the votes decide. Gibbs
steps draw from the posterior of scores, d and m, with P integrated out: scores by elliptical slice sampling (I. Murray,
R. Adams, D. MacKay, 2010, arXiv:1001.0175), d and m from their conditional probabilities. Given all three, P_ij is a
Beta variable, with its wins and losses added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from nlhf.numerics.bradley_terry import sigmoid

DEVIATIONS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])  # d, of the scores
STRENGTHS = 2.0 ** np.arange(1, 11)  # m, as a number of votes
WARM_UP = 200  # steps before the first draw
THINNING = 20  # steps between two draws
EDGE = 1e-6  # smallest prior probability of a win, which keeps the prior proper


@dataclass
class Posterior:
    """A Markov chain whose distribution approaches the posterior given votes.

    Args:
        wins: of the row's item, ties as halves, (n, n).
        scores: (n).
        deviation, strength: d and m.
    """

    wins: np.ndarray
    scores: np.ndarray
    deviation: float = 1.0
    strength: float = 16.0

    def step(self, rng: np.random.Generator) -> None:
        """Draw the scores, d and m, each given the other two."""
        self._draw_scores(rng)
        variance = DEVIATIONS**2
        density = -(self.scores @ self.scores) / variance / 2 - len(self.scores) * np.log(variance) / 2
        self.deviation = float(rng.choice(DEVIATIONS, p=special.softmax(density)))
        self.strength = float(rng.choice(STRENGTHS, p=special.softmax(self._likelihood(self.scores, STRENGTHS))))

    def preference(self, rng: np.random.Generator) -> np.ndarray:
        """P given the scores and m, (n, n)."""
        above = np.triu_indices(len(self.scores), 1)
        first, second = self._prior(self.scores, np.array([self.strength]))
        preference = np.full(self.wins.shape, 0.5)
        preference[above] = rng.beta(first[0] + self.wins[above], second[0] + self.wins.T[above])
        preference.T[above] = 1 - preference[above]
        return preference

    def _prior(self, scores: np.ndarray, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both parameters of the Beta prior of every pair, (M, pairs) each."""
        i, j = np.triu_indices(len(scores), 1)
        expected = np.clip(sigmoid(scores[i] - scores[j]), EDGE, 1 - EDGE)
        return strengths[:, None] * expected, strengths[:, None] * (1 - expected)

    def _likelihood(self, scores: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        """The log-likelihood of the votes with P integrated out, (M)."""
        i, j = np.triu_indices(len(scores), 1)
        first, second = self._prior(scores, strengths)
        with_votes = special.betaln(first + self.wins[i, j], second + self.wins[j, i])
        return np.asarray((with_votes - special.betaln(first, second)).sum(1))

    def _draw_scores(self, rng: np.random.Generator) -> None:
        """A step of elliptical slice sampling."""
        strength = np.array([self.strength])
        auxiliary = self.deviation * rng.standard_normal(len(self.scores))
        level = self._likelihood(self.scores, strength)[0] - rng.standard_exponential()
        angle = rng.uniform(0, 2 * np.pi)
        low, high = angle - 2 * np.pi, angle
        while True:
            scores = self.scores * np.cos(angle) + auxiliary * np.sin(angle)
            if self._likelihood(scores, strength)[0] >= level:
                self.scores = scores
                return
            low, high = (angle, high) if angle < 0 else (low, angle)
            angle = rng.uniform(low, high)


def drawn_preferences(wins: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of P from the posterior given votes, (draws, n, n).

    Args:
        wins: of the row's item, ties as halves, (n, n).
    """
    chain = Posterior(wins, np.zeros(len(wins)))
    for _ in range(WARM_UP - THINNING):
        chain.step(rng)
    drawn = np.empty((draws, *wins.shape))
    for number in range(draws):
        for _ in range(THINNING):
            chain.step(rng)
        drawn[number] = chain.preference(rng)
    return drawn

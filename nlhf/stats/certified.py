"""What votes prove about a policy: upper bounds of its exploitability that hold with probability 1 - delta.

A_ij is the probability that a voter prefers i to j, less 1/2; W_ij of N_ij votes do. A vote lies in [0, 1], and ties
count as half a win for both. Bounds of A turn into bounds of the gain (A pi)_y of every opponent y:

* once: Clopper and Pearson (1934) for every pair. Valid if the numbers of votes were fixed in advance. With ties, the
  sum of votes has at most e times the binomial tail (V. Bentkus, On Hoeffding's inequalities, 2004), so delta is
  divided by e, and half votes are rounded against the bound.
* anytime: P is possible while W log P + L log(1 - P) >= log B(W + 1, L + 1) - log(1/delta'), by Ville's inequality for
  a Beta(1, 1) mixture. Valid at every time, however the pairs were chosen. Votes in [0, 1] are covered, as the
  likelihood ratio is convex in the vote.
* mixture: (A pi)_y <= (A^ pi)_y + sqrt(chi_y sum_j pi_j^2 (N_yj + RHO)/N_yj^2) for all policies at once and at every
  time, chi_y = [log(n/delta) + sum_j log(1 + N_yj/RHO)/2]/2, by the method of mixtures for sub-Gaussian votes (Y.
  Abbasi-Yadkori, D. Pal, C. Szepesvari, Improved Algorithms for Linear Stochastic Bandits, 2011). Tight for policies
  that mix many items. A pair without a vote has A_yj <= 1/2.

All of them need independent votes: votes of one person or about one question may be alike. The first two add up the
chances of error of all pairs, so they also hold where only the votes on each pair are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from nlhf.stats.minimax import ACCURACY, conic_minimax, linear_minimax
from nlhf.stats.share_ranges import share_ranges

RHO = 50.0  # votes of a pair around which the bound of mixtures is tightest
BISECTIONS = 60
REFINEMENTS = 5  # of the choice which bound each opponent has, at most


@dataclass(frozen=True)
class VoteBounds:
    """Bounds of n items that hold together with probability 1 - delta.

    Args:
        upper: of A, (n, n), zero on the diagonal; 1/2 for pairs without a vote.
        estimate: A as the votes have it, (n, n), 0 for pairs without a vote; None without the bound of mixtures.
        spread: factors of pi^2 under the square root of the bound of mixtures, (n, n); None as above.
    """

    upper: np.ndarray
    estimate: np.ndarray | None = None
    spread: np.ndarray | None = None

    @classmethod
    def once(cls, wins: np.ndarray, votes: np.ndarray, delta: float, ties: bool = True) -> VoteBounds:
        """Bounds for numbers of votes that were fixed in advance.

        Args:
            wins: of the row's item, ties as halves, (n, n).
            votes: (n, n), symmetric.
            ties: False if every vote is a win or a loss.
        """
        tail = delta / pairs(wins) / 2 / (np.e if ties else 1.0)
        lost = np.floor(votes - wins)
        high = special.betaincinv(votes - lost + 1, np.maximum(lost, 1.0), 1 - tail)
        return cls(_advantage(np.where(lost > 0, high, 1.0)))

    @classmethod
    def anytime(cls, wins: np.ndarray, votes: np.ndarray, delta: float, separate: bool = False) -> VoteBounds:
        """Bounds at any time, for pairs chosen in any way: each of the two kinds has half of delta.

        Args:
            wins: of the row's item, ties as halves, (n, n).
            votes: (n, n), symmetric.
            separate: whether votes on different pairs may be alike; then the bound of mixtures is left out.
        """
        if separate:
            return cls(_advantage(_highest_possible(wins, votes, delta / pairs(wins))))
        n, half = len(wins), delta / 2
        has_votes = votes > 0
        estimate = np.where(has_votes, wins / np.maximum(votes, 1), 0.5) - 0.5
        chi = (np.log(n / half) + np.log1p(votes * ~np.eye(n, dtype=bool) / RHO).sum(1) / 2) / 2
        spread = np.where(has_votes, chi[:, None] * (votes + RHO) / np.maximum(votes, 1) ** 2, 0.0)
        for table in (estimate, spread):
            np.fill_diagonal(table, 0.0)
        return cls(_advantage(_highest_possible(wins, votes, half / pairs(wins))), estimate, spread)

    @property
    def lower(self) -> np.ndarray:
        """Lower bounds of A, (n, n)."""
        return -self.upper.T

    def gains(self, policy: np.ndarray) -> np.ndarray:
        """Upper bounds of the gain of every opponent against a policy, (n)."""
        gains: np.ndarray = self.upper @ policy
        return gains if self.spread is None else np.minimum(gains, self.of_mixture(policy))

    def exploitability(self, policy: np.ndarray, beta: float = 0.0, reference: np.ndarray | None = None) -> float:
        """An upper bound of the exploitability of a policy (n) in the game with KL strength beta.

        Args:
            reference: probabilities (n); None for the uniform policy.
        """
        gains = self.gains(policy)
        if beta == 0:
            return float(max(gains.max(), 0.0))
        reference = np.full(len(policy), 1 / len(policy)) if reference is None else reference
        divergence = special.rel_entr(policy, reference).sum()
        return float(beta * (special.logsumexp(gains / beta, b=reference) + divergence))

    def best(self) -> tuple[np.ndarray, float]:
        """The policy (n) with the smallest certified exploitability at beta = 0, and that exploitability.

        Each opponent has the smaller of two bounds, which is not convex. So the best policies under either bound alone
        are followed by those under the bounds that were the smaller ones, as long as they are better.
        """
        policy = linear_minimax(self.upper)
        value = self.exploitability(policy)
        if self.spread is None:
            return policy, value
        policy, value = self._better(policy, value, self.advantages, self.spread)
        for _ in range(REFINEMENTS):
            of_pairs = (self.upper @ policy <= self.of_mixture(policy))[:, None]
            if of_pairs.all() or not of_pairs.any():
                break
            rows, spread = np.where(of_pairs, self.upper, self.advantages), np.where(of_pairs, 0.0, self.spread)
            before = value
            policy, value = self._better(policy, value, rows, spread)
            if value >= (1 - ACCURACY) * before:
                break
        return policy, value

    def _better(
        self, policy: np.ndarray, value: float, rows: np.ndarray, spread: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """The better of a policy with this certified exploitability and the best one under some bounds of mixtures."""
        candidate = conic_minimax(rows, spread)
        candidate_value = self.exploitability(candidate)
        return (candidate, candidate_value) if candidate_value < value else (policy, value)

    def shares(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The smallest and the largest share of each item in an equilibrium at beta = 0 that the votes allow, (n) each.

        None if the bounds allow no equilibrium: then one of them is wrong, which has probability delta at most.
        """
        return share_ranges(self.lower)

    def of_mixture(self, policy: np.ndarray) -> np.ndarray:
        """The bound of mixtures for every opponent, (n)."""
        assert self.spread is not None
        return np.asarray(self.advantages @ policy + np.sqrt(self.spread @ policy**2))

    @property
    def advantages(self) -> np.ndarray:
        """The estimate of A, with 1/2 for pairs without a vote, (n, n)."""
        assert self.estimate is not None
        assert self.spread is not None
        return np.where((self.spread == 0) & ~np.eye(len(self.spread), dtype=bool), 0.5, self.estimate)


def pairs(table: np.ndarray) -> int:
    """The number of pairs of different items, at least 1."""
    return max(1, len(table) * (len(table) - 1) // 2)


def _advantage(highest: np.ndarray) -> np.ndarray:
    """Upper bounds of P as upper bounds of A."""
    upper: np.ndarray = np.clip(highest, 0.0, 1.0) - 0.5
    np.fill_diagonal(upper, 0.0)
    return upper


def _highest_possible(wins: np.ndarray, votes: np.ndarray, delta: float) -> np.ndarray:
    """The largest P that the anytime bound allows, by bisection: W log P + L log(1 - P) falls above W/N."""
    lost = votes - wins
    threshold = special.betaln(wins + 1, lost + 1) + np.log(delta)
    low, high = np.where(votes > 0, wins / np.maximum(votes, 1), 0.5), np.ones_like(wins, dtype=float)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        possible = special.xlogy(wins, middle) + special.xlog1py(lost, -middle) >= threshold
        low, high = np.where(possible, middle, low), np.where(possible, high, middle)
    return np.where(lost > 0, high, 1.0)

"""The equilibria of one preference matrix at beta = 0: one of them, and the range of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from nlhf.equilibria.arrays import equilibrium

PLAYED = 1e-6  # probability from which an item counts as played
EVEN = 1e-7  # an item that loses to an equilibrium by at most this is a best response
MOST = 40  # items up to which the range of all equilibria is computed


@dataclass(frozen=True)
class Nash:
    """An equilibrium of n items.

    Args:
        shares: the probability of each, (n).
        smallest, largest: the smallest and the largest probability of each item in any equilibrium, (n); equal to
            `shares` if there is only one, and nan if there are too many items.
    """

    shares: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray

    @property
    def unique(self) -> bool:
        """True if it is known to be the only one."""
        return bool((self.largest - self.smallest <= PLAYED).all())

    @property
    def known(self) -> bool:
        """True if it is known whether there are others."""
        return not bool(np.isnan(self.largest - self.smallest).any())

    @property
    def support(self) -> list[int]:
        """The items that it plays, the most likely first."""
        return [int(k) for k in np.argsort(-self.shares, kind="stable") if self.shares[k] > PLAYED]

    @property
    def possible(self) -> list[int]:
        """The items that some equilibrium plays, as far as known."""
        return [k for k in range(len(self.shares)) if max(self.shares[k], np.nan_to_num(self.largest[k])) > PLAYED]

    def text(self, items: tuple[str, ...]) -> str:
        """The equilibrium, or the range of each item's share if there are several."""
        if self.unique or not self.known:
            shares = ", ".join(f"{items[k]} {self.shares[k]:.3f}" for k in self.support)
            return shares if self.unique else f"{shares} (there may be others)"
        spans = [
            f"{items[k]} {self.smallest[k]:.3f}"
            + (f" to {self.largest[k]:.3f}" if self.largest[k] > self.smallest[k] + PLAYED else "")
            for k in sorted(self.possible, key=lambda k: (-self.largest[k], k))
        ]
        return "any of several: " + ", ".join(spans)


def equilibrium_shares(preference: np.ndarray) -> np.ndarray:
    """An equilibrium (n) of P (n, n)."""
    return np.asarray(np.exp(equilibrium(preference, beta=0.0).log_policy))


def equilibrium_range(preferences: np.ndarray | None) -> np.ndarray | None:
    """The range of 95% of the equilibria of P (R, n, n), (2, n); None for None."""
    if preferences is None:
        return None
    shares = np.array([equilibrium_shares(preference) for preference in preferences])
    return np.asarray(np.quantile(shares, (0.025, 0.975), axis=0))


def nash(preference: np.ndarray) -> Nash:
    """An equilibrium of P (n, n), and the range of all equilibria.

    The equilibria form the polytope of all q with A q <= 0, A = (P - P^T)/2. An equilibrium p is the only one if it
    plays all best responses to it, and A on these has a null space of dimension 1: for any other equilibrium q,
    q^T A p = 0 restricts q to the best responses to p, and p^T A q = 0 makes A q vanish there. Otherwise, linear
    programs compute the range.
    """
    shares = equilibrium_shares(preference)
    n, advantage = len(preference), (preference - preference.T) / 2
    played, answers = shares > PLAYED, advantage @ shares > -EVEN
    if (played == answers).all():
        values = np.linalg.svd(advantage[np.ix_(played, played)], compute_uv=False)
        if (values > EVEN).sum() >= played.sum() - 1:
            return Nash(shares, shares, shares)
    if n > MOST:
        return Nash(shares, np.full(n, np.nan), np.full(n, np.nan))
    ends = np.array([_end(advantage, k, sign) for sign in (1.0, -1.0) for k in range(n)]).reshape(2, n)
    return Nash(shares, np.minimum(ends[0], shares).clip(0, 1), np.maximum(ends[1], shares).clip(0, 1))


def _end(advantage: np.ndarray, item: int, sign: float) -> float:
    """The smallest (sign 1) or the largest (sign -1) share of an item in any equilibrium."""
    n = len(advantage)
    objective = np.zeros(n)
    objective[item] = sign
    result = linprog(
        objective, A_ub=advantage, b_ub=np.full(n, EVEN / 10), A_eq=np.ones((1, n)), b_eq=[1.0], bounds=(0, 1)
    )
    return float(result.x[item]) if result.status == 0 else float("nan")

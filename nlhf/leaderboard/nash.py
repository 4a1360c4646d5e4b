"""The equilibria of one preference matrix at beta = 0: one of them, and what all of them have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from nlhf.equilibria.arrays import equilibrium

PLAYED = 1e-6  # probability from which an item counts as played
EVEN = 1e-7  # an item that loses to an equilibrium by no more is an answer to it
MOST = 40  # items up to which all equilibria are looked at


@dataclass(frozen=True)
class Nash:
    """An equilibrium of n items.

    Args:
        shares: the probability of each, (n).
        least, most: the smallest and the largest that an item has in any equilibrium, (n); equal to `shares` where
            there is one alone, and nan where there are too many items to tell.
    """

    shares: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @property
    def unique(self) -> bool:
        """Is it the only one? False where it is not known."""
        return bool((self.most - self.least <= PLAYED).all())

    @property
    def known(self) -> bool:
        """Is it known whether there are others?"""
        return not bool(np.isnan(self.most - self.least).any())

    @property
    def support(self) -> list[int]:
        """The items that it plays, the likeliest first."""
        return [int(k) for k in np.argsort(-self.shares, kind="stable") if self.shares[k] > PLAYED]

    @property
    def possible(self) -> list[int]:
        """The items that some equilibrium plays, as far as is known."""
        return [k for k in range(len(self.shares)) if max(self.shares[k], np.nan_to_num(self.most[k])) > PLAYED]

    def text(self, items: tuple[str, ...]) -> str:
        """The equilibrium, and between which shares an item moves where there are others."""
        if self.unique or not self.known:
            told = ", ".join(f"{items[k]} {self.shares[k]:.3f}" for k in self.support)
            return told if self.unique else f"{told} (there may be others)"
        spans = [
            f"{items[k]} {self.least[k]:.3f}"
            + (f" to {self.most[k]:.3f}" if self.most[k] > self.least[k] + PLAYED else "")
            for k in sorted(self.possible, key=lambda k: (-self.most[k], k))
        ]
        return "any of many: " + ", ".join(spans)


def equilibrium_shares(preference: np.ndarray) -> np.ndarray:
    """An equilibrium (n) of P (n, n)."""
    return np.asarray(np.exp(equilibrium(preference, beta=0.0).log_policy))


def nash(preference: np.ndarray) -> Nash:
    """An equilibrium of P (n, n), and the shares of all others.

    The equilibria are the polytope of the q with A q <= 0, A = (P - P^T)/2. One of them, p, is alone if it plays all
    items that are answers to it, and A on these has a null space of dimension 1: of any other one q, q^T A p = 0 keeps
    it on the answers to p, and p^T A q = 0 makes A q vanish there. Otherwise linear programmes tell least and most.
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
    """The least (sign 1) or the largest (sign -1) share of an item in an equilibrium."""
    n = len(advantage)
    wanted = np.zeros(n)
    wanted[item] = sign
    found = linprog(wanted, A_ub=advantage, b_ub=np.full(n, EVEN / 10), A_eq=np.ones((1, n)), b_eq=[1.0], bounds=(0, 1))
    return float(found.x[item]) if found.status == 0 else float("nan")

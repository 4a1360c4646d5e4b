"""The equilibria of one preference matrix at beta = 0: the most even one, and the range of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.equilibria.arrays import equilibrium
from nlhf.games.payoff import PayoffName
from nlhf.stats.share_ranges import share_ranges

PLAYED = 1e-6  # probability from which an item counts as played
MOST = 40  # items up to which the range of all equilibria is computed


@dataclass(frozen=True)
class Nash:
    """An equilibrium of n items: of all equilibria, the one with the largest entropy.

    Args:
        shares: the probability of each, (n).
        smallest, largest: the smallest and the largest probability of each item in any equilibrium, (n); equal to
            `shares` if there is only one, and nan if there are too many items.
        certified: True if it is certified to be the only one.
    """

    shares: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    certified: bool

    @property
    def unique(self) -> bool:
        """True if it is known to be the only one, up to PLAYED."""
        return bool((self.largest - self.smallest <= PLAYED).all())

    @property
    def known(self) -> bool:
        """True if it is known whether there are others."""
        return not bool(np.isnan(self.largest - self.smallest).any())

    @property
    def support(self) -> list[int]:
        """The items that it plays, the most likely first. Some equilibrium plays an item only if this one does."""
        return played(self.shares)

    def text(self, items: tuple[str, ...]) -> str:
        """The equilibrium, and the range of each item's share if there are several."""
        shares = shares_text(self.shares, items)
        if self.unique:
            return shares
        if not self.known:
            return f"{shares} (there may be others)"
        spans = [
            f"{items[k]} {self.smallest[k]:.3f}"
            + (f" to {self.largest[k]:.3f}" if self.largest[k] > self.smallest[k] + PLAYED else "")
            for k in sorted(self.support, key=lambda k: (-self.largest[k], k))
        ]
        return f"{shares}, the most even of several equilibria, which have shares of {', '.join(spans)}"


def played(shares: np.ndarray) -> list[int]:
    """The items that a policy (n) plays, the most likely first."""
    return [int(k) for k in np.argsort(-shares.round(12), kind="stable") if shares[k] > PLAYED]


def shares_text(shares: np.ndarray, items: tuple[str, ...]) -> str:
    """`a 0.635, d 0.333, e 0.032`, the most likely first."""
    return ", ".join(f"{items[k]} {shares[k]:.3f}" for k in played(shares))


def equilibrium_shares(preference: np.ndarray, beta: float = 0.0, payoff: PayoffName = "linear") -> np.ndarray:
    """An equilibrium (n) of P (n, n); at beta = 0 the one with the largest entropy."""
    return np.asarray(np.exp(equilibrium(preference, beta, payoff=payoff).log_policy))


def equilibrium_range(preferences: np.ndarray | None) -> np.ndarray | None:
    """The range of 95% of the equilibria of P (R, n, n), (2, n); None for None."""
    if preferences is None:
        return None
    shares = np.exp(equilibrium(preferences, 0.0).log_policy)
    return np.asarray(np.quantile(shares, (0.025, 0.975), axis=0))


def nash(preference: np.ndarray) -> Nash:
    """The equilibrium of P (n, n) with the largest entropy, and the range of all equilibria."""
    result = equilibrium(preference, 0.0)
    shares, n = np.exp(result.log_policy), len(preference)
    if result.unique:
        return Nash(shares, shares, shares, True)
    ends = share_ranges((preference - preference.T) / 2) if n <= MOST else None
    if ends is None:
        return Nash(shares, np.full(n, np.nan), np.full(n, np.nan), False)
    return Nash(shares, np.minimum(ends[0], shares), np.maximum(ends[1], shares), False)

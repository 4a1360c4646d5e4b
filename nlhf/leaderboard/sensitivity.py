"""How the equilibrium changes with the strength of regularisation and with the payoff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.games.payoff import CLIP, PayoffName
from nlhf.leaderboard.nash import equilibrium_shares, shares_text

BETAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
PAYOFFS: dict[PayoffName, str] = {
    "linear": "margins, P",
    "logit": f"log-odds of P (within {CLIP:g} and {1 - CLIP:g})",
    "sign": "majorities",
}
MOST = 100  # items up to which it is computed
EQUAL = 5e-4  # difference of shares that no table shows


@dataclass(frozen=True)
class Sensitivity:
    """Equilibria of n items.

    Args:
        items: their names.
        betas: strengths of the KL term to the uniform policy.
        by_beta: the equilibrium for each of them, (B, n).
        payoffs: what is played for, at beta = 0.
        by_payoff: the equilibrium for each payoff, the one with the largest entropy if there are several, (3, n).
    """

    items: tuple[str, ...]
    betas: tuple[float, ...]
    by_beta: np.ndarray
    payoffs: tuple[PayoffName, ...]
    by_payoff: np.ndarray

    @property
    def order(self) -> list[int]:
        """The items by decreasing share at beta = 0, and then at the smallest beta > 0."""
        return [int(k) for k in np.lexsort((-self.by_beta[1].round(9), -self.by_beta[0].round(9)))]

    @property
    def lines(self) -> Iterator[str]:
        """The sentence about the payoffs."""
        linear, *nonlinear = self.by_payoff
        texts = [
            "the same" if np.abs(shares - linear).max() < EQUAL else shares_text(shares, self.items)
            for shares in nonlinear
        ]
        names = [PAYOFFS[payoff] for payoff in self.payoffs[1:]]
        if set(texts) == {"the same"}:
            yield f"It is the same if {' or '.join(names)} are played for."
        else:
            parts = [f"{name}: {text}" for name, text in zip(names, texts, strict=True)]
            yield f"The equilibrium if something else is played for; {'; '.join(parts)}."


def sensitivity(items: Sequence[str], preference: np.ndarray) -> Sensitivity | None:
    """The equilibria of P (n, n); None for too many items."""
    if len(items) > MOST:
        return None
    return Sensitivity(
        tuple(items),
        BETAS,
        np.array([equilibrium_shares(preference, beta) for beta in BETAS]),
        tuple(PAYOFFS),
        np.array([equilibrium_shares(preference, payoff=payoff) for payoff in PAYOFFS]),
    )

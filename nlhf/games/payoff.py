"""What is played for: payoffs A' = Psi(P) - Psi(1/2) of a preference P, for a Psi that is skew around 1/2.

* linear: Psi(P) = P, margins of votes. The equilibria at beta = 0 are the C2 maximal lotteries (P. Fishburn,
  Probabilistic Social Choice Based on Simple Voting Comparisons, 1984).
* logit: Psi(P) = log(P/(1 - P)), with P clipped to [clip, 1 - clip]. On a Bradley-Terry model A' is the difference of
  rewards, so the equilibrium with KL strength beta is the policy of reward maximisation, ref exp(reward/beta).
* sign: Psi(P) = 1 for P > 1/2, 1/2 for P = 1/2 and 0 below, majorities. The equilibria at beta = 0 are C1 maximal
  lotteries; without ties there is one, and its support is the bipartisan set (G. Laffond, J.-F. Laslier, M. Le Breton,
  The Bipartisan Set of a Tournament Game, 1993).

A Psi that is not skew around 1/2 gives no symmetric zero-sum game (arXiv:2505.20627). With the largest payoff M, the
game (A', beta, step lambda) has the iterates of (A'/2M, beta/2M, 2M lambda), whose payoffs lie in [-1/2, 1/2] as those
of preferences do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nlhf.config import ConfigError

PayoffName = Literal["linear", "logit", "sign"]
CLIP = 0.01  # probabilities closer to 0 or 1 count as this, in the logit


@dataclass(frozen=True)
class Payoff:
    """A payoff.

    Args:
        name: `linear`, `logit` or `sign`.
        clip: smallest P of the logit, in (0, 1/2).
    """

    name: PayoffName = "linear"
    clip: float = CLIP

    def __post_init__(self) -> None:
        if self.name not in get_args(PayoffName):
            raise ConfigError(f"payoff={self.name} is unknown: give payoff={', '.join(get_args(PayoffName))}.")
        if not 0 < self.clip < 0.5:
            raise ConfigError(f"clip={self.clip} is out of range: give a probability in (0, 0.5).")

    @property
    def unit(self) -> float:
        """2M, where M is the largest payoff that a preference can have; 1 for preferences themselves."""
        return float(4 * np.arctanh(1 - 2 * self.clip)) if self.name == "logit" else 1.0

    def __call__(self, advantage: np.ndarray) -> np.ndarray:
        """Psi(P) - Psi(1/2) for A = P - 1/2; exactly skew-symmetric if A is."""
        if self.name == "linear":
            return advantage
        if self.name == "sign":
            return np.asarray(np.sign(advantage) / 2)
        return np.asarray(2 * np.arctanh(np.clip(2 * advantage, 2 * self.clip - 1, 1 - 2 * self.clip)))

    def scaled(self, advantage: np.ndarray) -> np.ndarray:
        """The payoff over 2M, in [-1/2, 1/2]."""
        return self(advantage) / self.unit

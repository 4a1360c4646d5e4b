"""Responses to a geometric mixture with the reference: Nash-MD-PG (arXiv:2312.00886) and IPO-MD (arXiv:2403.08635).

    pi_{k+1} = prox(opponent = mix_k, lambda = inf) from pi_k,     mix_k ∝ pi_k^(1-w) ref^w,   w = `mixture`

The papers take one gradient step, with the policy gradient (Nash-MD-PG) or on pairs that are both drawn from the
mixture (IPO-MD). Without Nash-MD's anchor it is biased: its fixed point is the best response to mix = pi*(beta/(1-w)),
the equilibrium of a game with more regularisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State
from nlhf.policies.mixture import GeometricMixture


@dataclass(frozen=True)
class MixturePlay(ProximalAlgorithm):
    """Best responses, or steps towards them, to the mixture.

    Args:
        mixture: the reference's share w, in [0, 1]; 0 is self-play, 1 the best response to the reference.
    """

    mixture: float

    sources = ("2312.00886", "2403.08635")
    needs = frozenset({"reverse-kl"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.mixture <= 1:
            raise ConfigError(f"algorithm.mixture={self.mixture} is out of range: give a number from 0 to 1.")

    def update(self, state: State, prox: Prox) -> State:
        pi = state.policy
        mixture = GeometricMixture(pi, prox.reference, prox.beta * 0 + self.mixture)
        return State(prox(opponent=mixture, anchor=pi, step_size=self.step_size))

    def check(self, beta: float) -> None:
        super().check(beta)
        if self.by_theory:
            raise ConfigError("algorithm.step_size=theory is not known for mixtures: give a number > 0, or .inf.")

    def caveat(self, beta: float) -> str | None:
        if self.mixture == 1:
            return "biased: it rests at the best response to the reference"
        return (
            "biased: it rests at the best response to the equilibrium for beta/(1 - mixture)" if self.mixture else None
        )

    def cycling(self, beta: float, unit: float = 1.0) -> str | None:
        loose = self.step_size == math.inf and beta < (1 - self.mixture) / math.pi
        return "without an anchor it can cycle" if loose else None

"""Extragradient steps on a loss: EGPO for policies with parameters (arXiv:2503.08942).

    half     = prox(opponent = pi_k, lambda) from pi_k
    pi_{k+1} = prox(opponent = half, lambda) from pi_k

The default is the paper's: an infinite lambda, and one gradient step for each problem, on the squared errors of pairs
of uniform actions. On a table of logits whose optimiser has no momentum this is `egpo`. Both steps start at pi_k, where
the second one of `nash_mp` goes on from half. It rests at pi*.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Prox, ProximalAlgorithm, State


@dataclass(frozen=True)
class Extragradient(ProximalAlgorithm):
    """Two steps an iteration from one policy: the second one against the end of the first."""

    sources = ("2503.08942",)

    def update(self, state: State, prox: Prox) -> State:
        pi = state.policy
        half = prox(opponent=pi, anchor=pi, step_size=self.step_size, start=pi)
        return State(prox(opponent=half, anchor=pi, step_size=self.step_size, start=pi))

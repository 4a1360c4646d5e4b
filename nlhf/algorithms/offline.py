"""Offline baselines: one gradient step an iteration on a loss of recorded pairs (y, y'), with P from their votes.

    offline_dpo   -E [P log sig(b D) + (1 - P) log sig(-b D)]      rests at ref exp(r/b), r a Bradley-Terry fit
    offline_ipo   E (beta D - (P - 1/2))^2                         rests at the best response to the policy of the pairs
    sft           -E [P log pi(y) + (1 - P) log pi(y')]            rests at the distribution of the chosen answers

with D = log(pi/ref)(y) - log(pi/ref)(y') and b = beta_dpo. The pairs come from `prox.recorded`: a file, or pairs of the
reference that the judge has compared. Where they cover all actions, the fixed points are exact; no equilibrium is one
of them, because no answer is about the trained policy. The losses define the algorithms, so no other engine runs them.
Sources: DPO, arXiv:2305.18290; IPO, arXiv:2310.12036. See docs/guides/language-models.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nlhf.algorithms.base import Prox, ProximalAlgorithm, State


@dataclass(frozen=True)
class Offline(ProximalAlgorithm):
    """Steps on recorded pairs. Opponent and anchor are the policy itself, and the losses use neither."""

    loss: ClassVar[str]
    rests_at: ClassVar[str]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"recorded", self.loss})

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({"self-play"})

    def caveat(self, beta: float) -> str | None:
        return f"it learns from recorded pairs alone, so it rests at {self.rests_at}, not at the equilibrium"

    def update(self, state: State, prox: Prox) -> State:
        return State(prox(opponent=state.policy, anchor=state.policy, step_size=self.step_size))


@dataclass(frozen=True)
class OfflineDPO(Offline):
    """DPO on recorded pairs."""

    sources: ClassVar[tuple[str, ...]] = ("2305.18290",)
    loss: ClassVar[str] = "logistic"
    rests_at: ClassVar[str] = "the RLHF solution of a Bradley-Terry fit of the pairs"


@dataclass(frozen=True)
class OfflineIPO(Offline):
    """IPO on recorded pairs."""

    sources: ClassVar[tuple[str, ...]] = ("2310.12036",)
    loss: ClassVar[str] = "ipo"
    rests_at: ClassVar[str] = "the best response to the policy that wrote the pairs"


@dataclass(frozen=True)
class SFT(Offline):
    """Supervised fine-tuning on the chosen answers."""

    loss: ClassVar[str] = "likelihood"
    rests_at: ClassVar[str] = "the distribution of the chosen answers"

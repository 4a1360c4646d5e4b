"""XPO: online DPO on pairs with the reference, and a bonus for actions that the reference rarely takes.

    minimise  -E_{y ~ pi_k, y' ~ ref} [P log sig(b D) + (1 - P) log sig(-b D)]  +  alpha E_{y' ~ ref} log pi(y')

with D and b = beta_dpo as in online DPO, and one gradient step per iteration (arXiv:2405.21046). The plus is the
paper's sign, as optimism requires: it lowers the likelihood of the reference's actions; one public re-implementation
has a minus. With alpha = 0 and a Bradley-Terry model with rewards r, its fixed point is ref exp(r/b). Elsewhere it is
biased: the fit weighs the pairs by pi times ref, not by pi twice. Minimised loss and fixed point depend on alpha, the
paper's 1e-5 by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Prox, State
from nlhf.algorithms.online_dpo import OnlineDPO


@dataclass(frozen=True)
class XPO(OnlineDPO):
    """Online DPO whose second action is the reference's; alpha belongs to the loss (prox.alpha)."""

    sources = ("2405.21046", "2402.04792")

    def update(self, state: State, prox: Prox) -> State:
        pi = state.policy
        return State(prox(opponent=pi, anchor=pi, step_size=self.step_size, partner=prox.reference))

    def caveat(self, beta: float) -> str | None:
        return "biased: except on Bradley-Terry games, its pairs with the reference move its fixed point"

"""Online DPO: regularised self-play by a logistic loss (arXiv:2402.04792).

    minimise  -E_{y,y' ~ pi_k} [P log sig(b D) + (1 - P) log sig(-b D)],   D = log(pi/ref)(y) - log(pi/ref)(y')

with b = beta_dpo and one gradient step per iteration. If P is a Bradley-Terry model with rewards r, its fixed point is
ref exp(r/b). Otherwise it is close to the equilibrium of the game regularised by b/4: the slope of sig at 0 is 1/4, so
that D = 4 (P - 1/2)/b for small D, while the game has D = (P - 1/2)/beta. For comparisons the default is
beta_dpo = 4 beta. The loss defines the algorithm, so no other engine can run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nlhf.algorithms.base import Tensor
from nlhf.algorithms.omd import OnlineMirrorDescent


@dataclass(frozen=True)
class OnlineDPO(OnlineMirrorDescent):
    """Self-play with a logistic loss."""

    sources: ClassVar[tuple[str, ...]] = ("2402.04792",)
    needs = frozenset({"logistic", "reverse-kl"})

    def contraction(self, beta: Tensor) -> Tensor:
        return beta.new_full(beta.shape, float("nan"))

"""Online DPO: regularised self-play by a logistic loss (arXiv:2402.04792).

    minimise  -E_{y,y' ~ pi_k} [P log sig(b D) + (1 - P) log sig(-b D)],   D = log(pi/ref)(y) - log(pi/ref)(y')

with b = beta_dpo, one gradient step for every policy that it plays. If P is a Bradley-Terry model with rewards r it
rests at ref exp(r/b); else about at the equilibrium of the game regularised by b/4: the slope of sig at 0 is 1/4, so
that D = 4 (P - 1/2)/b where D is small, against D = (P - 1/2)/beta in the game. Comparisons take beta_dpo = 4 beta, the
default. The loss is what defines it: no other engine can take its steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import Tensor
from nlhf.algorithms.omd import OnlineMirrorDescent


@dataclass(frozen=True)
class OnlineDPO(OnlineMirrorDescent):
    """Self-play whose loss is logistic."""

    needs = frozenset({"logistic"})

    def contraction(self, beta: Tensor) -> Tensor:
        return beta.new_full(beta.shape, float("nan"))

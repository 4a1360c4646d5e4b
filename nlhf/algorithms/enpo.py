"""ENPO: INPO whose pairs explore in the direction of the last step (arXiv:2606.01382).

    pi_{k+1} = prox(opponent = pi_k, anchor = pi_k, lambda)
    by regression on pairs y ~ pi_k, y' ~ hat ∝ pi_{k-1} (pi_k/pi_{k-1})^c,   c = `extrapolation`,   pi_{-1} = pi_0

minimising E (m(y) - m(y') - p(y) + p(y'))^2/(4 kappa) - alpha kappa/4 E_{y ~ pi_k} log pi(y), with p unbiased for
P(. > pi_k). With alpha = 0 the minimiser is a step of online mirror descent, whatever the pairs: exact engines take it.
alpha > 0 shortens a short step by 1/(1 + alpha/4) and moves no fixed point. In the paper's symbols tau = beta,
1/lambda = eta - tau and c = s/beta_B. Its settings are eta = 3 tau, so lambda = 1/(2 beta), which is far above the
step 4 beta for which a rate is proved, alpha = 0.001, c = 20 and 4 comparators; a tie counts as 1/2 here, as 0 there.
Based on INPO, arXiv:2407.00617.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, State, TrainablePolicy
from nlhf.algorithms.omd import MirrorDescentRate
from nlhf.policies.mixture import GeometricMixture


@dataclass(frozen=True)
class ENPOState(State):
    """The policy and the one before it."""

    previous: TrainablePolicy


@dataclass(frozen=True)
class ENPO(MirrorDescentRate):
    """Online mirror descent that explores; alpha and the comparators belong to the loss (prox.alpha).

    Args:
        extrapolation: exponent c of the last step in the second sampler; 1 draws both actions from the policy.
    """

    extrapolation: float

    sources = ("2606.01382", "2407.00617")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.extrapolation):
            raise ConfigError(f"algorithm.extrapolation={self.extrapolation} is not finite: give a number such as 20.")

    def init(self, policy: TrainablePolicy) -> ENPOState:
        return ENPOState(policy, previous=policy)

    def update(self, state: ENPOState, prox: Prox) -> ENPOState:
        pi = state.policy
        explorer = GeometricMixture(state.previous, pi, prox.beta * 0 + self.extrapolation)
        return ENPOState(prox(opponent=pi, anchor=pi, step_size=self.step_size, partner=explorer), previous=pi)

"""One proximal problem at a batch of contexts, with its distributions evaluated there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import Policy
    from nlhf.policies.distributions import Distribution
    from nlhf.regularisers.base import Regulariser


@dataclass(frozen=True, eq=False)
class Problem:
    """One proximal problem at a batch of contexts (S, B); all distributions but the learner are constant.

    Args:
        learner, opponent, partner, anchor, reference: distributions; the partner draws the second action of a pair.
        beta, inverse_step: (S, 1, 1), the weights of the two KL terms.
        beta_dpo: (S, 1, 1), of the logistic loss.
        alpha: weight of the log-likelihood term of the losses `logistic` and `enpo`.
        regulariser: R.
        weighs_reference, weighs_anchor: False if beta or inverse_step is zero for all seeds.
    """

    learner: Distribution
    opponent: Distribution
    partner: Distribution
    anchor: Distribution
    reference: Distribution
    beta: Tensor
    inverse_step: Tensor
    beta_dpo: Tensor
    alpha: float
    regulariser: Regulariser
    weighs_reference: bool = True
    weighs_anchor: bool = True

    @cached_property
    def kappa(self) -> Tensor:
        """beta + 1/step_size, (S, 1)."""
        return (self.beta + self.inverse_step)[..., 0]

    def announce(self, first: Tensor, second: Tensor) -> None:
        """Expect that the loss compares these actions (S, B, k): each distribution is evaluated at both together."""
        for distribution in (self.learner, self.anchor, self.reference):
            distribution.announce(first, second)

    def margin(self, actions: Tensor) -> Tensor:
        """m(y) = beta dR/dpi(y) + log(pi/anchor)(y)/step_size, for actions (S, B, k).

        A term without weight evaluates nothing: each evaluation of a language model takes seconds.
        """
        log_prob = self.learner.log_prob(actions)
        terms = []
        if self.weighs_reference:
            slope = self.regulariser.slope(log_prob, self.reference.log_prob(actions).to(log_prob))
            terms.append(self.beta * slope)
        if self.weighs_anchor:
            terms.append(self.inverse_step * (log_prob - self.anchor.log_prob(actions).to(log_prob)))
        return sum(terms[1:], terms[0]) if terms else 0 * log_prob


def evaluated(
    policies: tuple[Policy, Policy, Policy, Policy], contexts: Tensor | None, cache: dict[Policy, Distribution]
) -> tuple[Distribution, Distribution, Distribution, Distribution]:
    """The four policies at `contexts`; each is evaluated once and added to `cache`."""
    for policy in policies:
        if policy not in cache:
            cache[policy] = policy.at(contexts)
    first, second, third, fourth = (cache[policy] for policy in policies)
    return first, second, third, fourth

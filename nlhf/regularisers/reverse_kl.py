"""The reverse KL divergence R(pi) = KL(pi || ref), whose proximal step has a closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nlhf.numerics import simplex
from nlhf.regularisers.base import Contraction, Regulariser, Response

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.numerics.tree import Tree
    from nlhf.policies.base import Policy


@dataclass(frozen=True)
class ReverseKL(Regulariser):
    """The reverse KL divergence: its Bregman divergence is KL itself, so sigma = 1."""

    sources = ()
    needs = frozenset()
    provides = frozenset({"interior", "reverse-kl", "strongly-convex"})
    columns = ()

    weights = staticmethod(simplex.step_weights)
    step: ClassVar[Any] = staticmethod(simplex.weighted_step)  # the closed form

    def value(self, policy: Tensor, reference: Tensor) -> Tensor:
        return simplex.kl(policy, reference)

    def slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return policy - reference

    def inverse_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        return policy.exp()

    def barrier(self, reference: Tensor) -> Tensor:
        return reference * 0

    def finite_slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return policy - reference

    def finite_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        return (-policy).exp()

    def divergence(self, first: Tensor, second: Tensor, reference: Tensor) -> Tensor:
        return simplex.kl(first, second)

    def convexity(self, reference: Tensor) -> float:
        return 1.0

    def convexity_at(self, policy: Tensor, reference: Tensor) -> float:
        return 1.0

    def response(self, gain: Tensor, reference: Tensor, beta: Tensor, tree: Tree | None = None) -> Response:
        log_policy = simplex.normalised(
            lambda gain, log_weight: (gain / beta).add_(log_weight), gain, reference, tree=tree
        )
        return Response(log_policy, gain.new_zeros(()))

    def spread(self, policy: Tensor, reference: Tensor) -> float:
        return 1.0

    def check(self, beta: float) -> None:
        return

    def strength(self, beta: Tensor, reference: Policy) -> Tensor:
        return beta

    def exploitability(
        self, policy: Tensor, gain: Tensor, reference: Tensor, beta: Tensor, tree: Tree | None = None
    ) -> Tensor:
        """As in the base class; at beta = 0 the largest gain. With a tree, policies and responses are those of it."""
        scale = beta[..., 0] if beta.ndim else beta
        response = self.response(gain, reference, beta.where(beta > 0, 1.0), tree).log_policy
        return simplex.largest(gain, tree).clamp(min=0.0).where(scale == 0, scale * simplex.kl(policy, response))

    def contraction(self, first: Tensor, second: Tensor, reference: Tensor, strength: Tensor) -> Contraction:
        growth, kl = 1 + strength, simplex.kl(first, second)[..., None]
        return Contraction(growth, kl, growth * kl)


REVERSE_KL = ReverseKL()

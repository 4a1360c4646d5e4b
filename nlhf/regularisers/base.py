"""A regulariser is a convex penalty R of a policy, 0 at the reference.

The game is P(pi > mu) - beta R(pi) + beta R(mu).

D is its Bregman divergence, D(p, q) = R(p) - R(q) - <R'(q), p - q>. Tables are log-probabilities (..., n), the last
dimension is the action; numbers such as beta broadcast as (..., 1). Only tensor methods are used, so that this package
is imported without torch. See docs/mathematics.md, "Other regularisers".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from nlhf.config import ConfigError
from nlhf.numerics import simplex

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.numerics.tree import Tree
    from nlhf.policies.base import Policy


class Contraction(NamedTuple):
    """What identity (M) says about a proximal step n from an anchor against a policy h, in each context, (..., 1).

    KL(pi* || n) growth <= KL(pi* || anchor) - KL(h || anchor) + total.

    Args:
        growth: 1 + step_size beta sigma, where D(p, n) >= sigma KL(p || n) for every policy p.
        kl: KL(h || n).
        total: KL(h || n) + step_size beta D(h, n).
    """

    growth: Tensor
    kl: Tensor
    total: Tensor


class Response(NamedTuple):
    """A best response.

    Args:
        log_policy: (..., n), -inf for actions outside its support.
        slack: what the actions outside the support fall short by, (..., n), 0 on the support.
    """

    log_policy: Tensor
    slack: Tensor


@dataclass(frozen=True)
class Regulariser(ABC):
    """Base of the regularisers, the choices of `regulariser=<name>`. Subclasses are frozen dataclasses.

    Class attributes: `sources`, arXiv numbers; `needs` and `provides`, as of other parts of a run; `columns`, the
    columns that it adds to rows.
    """

    sources: ClassVar[tuple[str, ...]] = ("2503.00030",)
    needs: ClassVar[frozenset[str]] = frozenset({"one-turn"})
    provides: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[tuple[str, ...]] = ("regularised_value",)

    @abstractmethod
    def value(self, policy: Tensor, reference: Tensor) -> Tensor:
        """R(policy), (...)."""

    @abstractmethod
    def slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        """The derivative of R by the probability of each action, up to a constant, (..., n)."""

    @abstractmethod
    def inverse_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        """1 over the second derivative of R by the probability of each action; 0 outside the support; (..., n)."""

    @abstractmethod
    def barrier(self, reference: Tensor) -> Tensor:
        """b >= 0 in R'(p) = r(p) - b/p with a finite r, (..., n)."""

    @abstractmethod
    def finite_slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        """r(p) up to a constant, (..., n)."""

    @abstractmethod
    def finite_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        """The derivative of r, (..., n)."""

    @abstractmethod
    def divergence(self, first: Tensor, second: Tensor, reference: Tensor) -> Tensor:
        """D(first, second), (...), a sum of non-negative terms."""

    @abstractmethod
    def convexity(self, reference: Tensor) -> Tensor | float:
        """The largest proved sigma with D(p, q) >= sigma KL(p || q) for all policies, (..., 1); 0 if there is none."""

    @abstractmethod
    def convexity_at(self, policy: Tensor, reference: Tensor) -> Tensor | float:
        """A proved sigma with D(p, policy) >= sigma KL(p || policy) for all policies p, (..., 1)."""

    @abstractmethod
    def weights(self, beta: Tensor, step_size: Tensor) -> tuple[Any, ...]:
        """Numbers of `step` that depend on beta and the step size only, so that engines can store them."""

    @abstractmethod
    def step(self, anchor: Tensor, reference: Tensor, gain: Tensor, *weights: Any) -> Tensor:
        """The maximiser of <pi, gain> - beta R(pi) - KL(pi || anchor)/step_size, (..., n).

        Args:
            weights: what `weights` returns, and the tree of the game or None.
        """

    @abstractmethod
    def response(self, gain: Tensor, reference: Tensor, beta: Tensor) -> Response:
        """The maximiser of <pi, gain> - beta R(pi), for beta > 0."""

    def spread(self, policy: Tensor, reference: Tensor) -> Tensor | float:
        """The factor of squared errors of scores in the rounding of an exploitability, (...)."""
        return 8 * self.inverse_curvature(policy, reference).sum(-1).clamp(min=2)

    def check(self, beta: float) -> None:
        """Refuse beta = 0, where no regulariser has an effect."""
        if beta == 0:
            raise ConfigError(
                f"regulariser={type(self).__name__} has no effect at beta=0: set beta > 0, or regulariser=reverse_kl."
            )

    def strength(self, beta: Tensor, reference: Policy) -> Tensor:
        """beta sigma of every seed, (S, 1, 1): it takes the place of beta in step sizes and rates."""
        convexity = self.convexity(reference.log_probabilities)
        return beta * (convexity if isinstance(convexity, float) else convexity.amin(-2, keepdim=True))

    def exploitability(
        self, policy: Tensor, gain: Tensor, reference: Tensor, beta: Tensor, tree: Tree | None = None
    ) -> Tensor:
        """max_mu <mu, gain> - beta R(mu) + beta R(policy), (...), for gain = A policy and beta > 0, of any shape.

        It is beta D(policy, response) + <policy, slack>, a sum of non-negative terms.
        """
        response = self.response(gain, reference, beta)
        scale = beta[..., 0] if beta.ndim else beta
        lost = simplex.mean_under(policy, response.slack)
        return scale * self.divergence(policy, response.log_policy, reference) + lost

    def contraction(self, first: Tensor, second: Tensor, reference: Tensor, strength: Tensor) -> Contraction:
        """The parts of identity (M) for h = first, n = second and step_size beta = strength (..., 1)."""
        kl = simplex.kl(first, second)[..., None]
        growth = 1 + strength * self.convexity_at(second, reference)
        return Contraction(growth, kl, kl + strength * self.divergence(first, second, reference)[..., None])

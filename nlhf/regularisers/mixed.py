"""Mixtures of the two KL divergences, R(pi) = w KL(pi || ref) + (1-w) KL(ref || pi).

A proximal step satisfies kappa log pi_y - c_y/pi_y = q_y - nu with kappa = w beta + 1/step_size, c = (1-w) beta ref
and q = gain + w beta log ref + log(anchor)/step_size. With z = (q - nu)/kappa and Wright's omega W,

    log pi = z + v = log(c/kappa) - log v,      v = W(log(c/kappa) - z) = c/(kappa pi)

For kappa = 0, the forward KL without an anchor, pi = c/(nu - q). (arXiv:2503.00030)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.numerics import simplex
from nlhf.numerics.wright_omega import wright_omega
from nlhf.regularisers.base import Regulariser, Response
from nlhf.regularisers.normaliser import normalised

if TYPE_CHECKING:
    from torch import Tensor


class MixtureOfKL(Regulariser):
    """The mixture of a `share` w in [0, 1) of the reverse KL and the forward KL.

    The second derivative of the forward KL is ref/pi^2 >= min ref/pi, hence sigma = w + (1-w) min ref.
    """

    provides = frozenset({"interior", "strongly-convex"})

    @property
    def share(self) -> float:
        """The weight w of the reverse KL."""
        return 0.0

    def value(self, policy: Tensor, reference: Tensor) -> Tensor:
        forward = (1 - self.share) * simplex.kl(reference, policy)
        return forward + self.share * simplex.kl(policy, reference) if self.share else forward

    def slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.share * (policy - reference) - (1 - self.share) * (reference - policy).exp()

    def inverse_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        mass = policy.exp()
        return mass / (self.share + (1 - self.share) * (reference - policy).exp())

    def barrier(self, reference: Tensor) -> Tensor:
        return (1 - self.share) * reference.exp()

    def finite_slope(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.share * (policy - reference)

    def finite_curvature(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.share * (-policy).exp()

    def divergence(self, first: Tensor, second: Tensor, reference: Tensor) -> Tensor:
        difference = first - second
        ratio = difference.expm1() - difference  # p/q - 1 - log(p/q)
        forward = (1 - self.share) * (reference.exp() * ratio).sum(-1)
        return forward + self.share * simplex.kl(first, second) if self.share else forward

    def convexity(self, reference: Tensor) -> Tensor:
        return self.share + (1 - self.share) * reference.amin(-1, keepdim=True).exp()

    def convexity_at(self, policy: Tensor, reference: Tensor) -> Tensor:
        return self.convexity(reference)

    def weights(self, beta: Tensor, step_size: Tensor) -> tuple[Any, ...]:
        inverse = 1 / step_size
        kappa = self.share * beta + inverse
        free = kappa == 0
        return beta, inverse, kappa.where(~free, 1.0), free if bool(free.any()) else None

    def step(self, anchor: Tensor, reference: Tensor, gain: Tensor, *weights: Any) -> Tensor:
        beta, inverse, kappa, free, _ = weights
        solution = self._solution(gain + inverse * anchor, reference, beta, kappa)
        return solution if free is None else self.response(gain, reference, beta).log_policy.where(free, solution)

    def response(self, gain: Tensor, reference: Tensor, beta: Tensor) -> Response:
        if self.share:
            log_policy = self._solution(gain, reference, beta, self.share * beta)
        else:
            log_policy = _hyperbola(gain, reference + beta.log())
        return Response(log_policy, gain.new_zeros(()))

    def _solution(self, gain: Tensor, reference: Tensor, beta: Tensor, kappa: Tensor) -> Tensor:
        """The step for kappa > 0; `gain` includes the term of the anchor."""
        levels = (gain + self.share * beta * reference) / kappa  # z + nu/kappa
        levels = levels - levels.amax(-1, keepdim=True)
        log_ratio = reference + ((1 - self.share) * beta / kappa).log()  # log(c/kappa)
        ratio = log_ratio.exp()

        def curve(nu: Tensor) -> tuple[Tensor, Tensor]:
            z = levels - nu
            v = wright_omega(log_ratio - z)
            return (z + v).where(v < 1, log_ratio - v.log()), -1 / (1 + v)

        count = levels.shape[-1]
        lower = (levels + ratio).amax(-1, keepdim=True)
        upper = (levels + ratio * count).amax(-1, keepdim=True) + levels.new_tensor(float(count)).log()
        return normalised(curve, lower, upper, log_convex=True)[0]


def _hyperbola(gain: Tensor, log_weight: Tensor) -> Tensor:
    """The log-probabilities of pi_y = weight_y/(nu - gain_y)."""
    gain = gain - gain.amax(-1, keepdim=True)

    def curve(nu: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight - (nu - gain).log(), -1 / (nu - gain)

    weight = log_weight.exp()
    lower, upper = (gain + weight).amax(-1, keepdim=True), (gain + weight * gain.shape[-1]).amax(-1, keepdim=True)
    return normalised(curve, lower, upper, log_convex=True)[0]


@dataclass(frozen=True)
class ForwardKL(MixtureOfKL):
    """The forward KL divergence R(pi) = KL(ref || pi): no policy may give up an action of the reference."""


@dataclass(frozen=True)
class Mixed(MixtureOfKL):
    """A mixture of the two divergences.

    Args:
        weight: w of the reverse KL, in (0, 1).
    """

    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1:
            raise ConfigError(
                f"regulariser.weight={self.weight} is outside (0, 1): give a share such as 0.5, or choose "
                "regulariser=reverse_kl or forward_kl."
            )

    @property
    def share(self) -> float:
        return self.weight

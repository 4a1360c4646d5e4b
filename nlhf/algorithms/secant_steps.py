"""What one answer proves about proximal steps of every length, by identity (M)."""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info

from nlhf.algorithms.base import Tensor
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy

DOUBLINGS = 36  # of the step that is always accepted, for the values of lambda' that are tried
FAR = 500.0  # a difference of log-probabilities whose exponential is finite in float64
EPS = float_info.epsilon


@dataclass(frozen=True)
class Trials:
    """What depends on beta alone: the values of lambda' that are tried, 0 and inf among them, (S, 1, L).

    Args:
        steps, scales, growth: lambda', 1/(beta + 1/lambda') and 1 + lambda' beta.
        promise: log of the contraction that each query owes, (S, 1, 1).
    """

    steps: Tensor
    scales: Tensor
    growth: Tensor
    promise: Tensor

    @classmethod
    def of(cls, beta: Tensor, theory_step: Tensor) -> Trials:
        """The steps 0, theory_step 2^k and inf."""
        powers = [0.0, *(2.0**k for k in range(-1, DOUBLINGS)), float("inf")]
        steps = theory_step * beta.new_tensor(powers)
        return cls(steps, (beta + steps.reciprocal()).reciprocal(), 1 + steps * beta, -(2 * beta).log1p() / 3)

    def best(
        self, query: TabularPolicy, anchor: Tensor, gain: Tensor, noise: Tensor, remainder: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The step with the smallest proved contraction, 0 if none is below one.

        Args:
            query, anchor: h and pi_k.
            gain: answer about h + beta (log ref - log anchor), (S, X, Y).
            noise: rounding error of divergences, (S, X, 1).
            remainder: the proved bound on KL(pi* || pi_k), (S, X, 1).

        Returns: log-probabilities, the step, its contraction, and the new remainder.
        """
        divergences = self.divergences(query, anchor, gain)
        excess = self.growth * (divergences + noise) + (noise - divergences[..., :1])
        lower_bound = excess.amin(-1, keepdim=True).neg().clamp(min=1e-300)  # of KL(pi* || pi)
        worse = excess.clamp(min=0.0)
        factors, remainders = (worse / lower_bound + 1) / self.growth, (remainder + worse) / self.growth
        remainders[..., -1:] = divergences[..., -1:] + noise
        factors[..., -1:] = remainders[..., -1:] / lower_bound
        factors[..., 0], remainders[..., :1] = 1.0, remainder  # stay
        contraction, best = factors.min(-1, keepdim=True)
        steps, scales = self.steps.expand_as(factors), self.scales.expand_as(factors)
        policy = (anchor + gain * scales.gather(-1, best)).log_softmax(-1)
        return policy, steps.gather(-1, best), contraction, remainders.gather(-1, best)

    def divergences(self, query: TabularPolicy, anchor: Tensor, gain: Tensor) -> Tensor:
        """KL(query || anchor exp(scale gain) / Z) for every scale that is tried, (S, X, L)."""
        import torch

        log_query = query.log_probabilities.flatten(0, 1)[:, None]
        mass = query.probabilities.flatten(0, 1)[:, None]
        scales = self.scales.expand(*anchor.shape[:2], -1).flatten(0, 1)[..., None]
        moved, gain = log_query - anchor.flatten(0, 1)[:, None], gain.flatten(0, 1)[:, None]
        moved, gain = moved - mass.bmm(moved.mT), gain - mass.bmm(gain.mT)
        parts = []
        for part in torch.split(scales, max(1, simplex.PART // gain.numel()), 1):
            differences = moved.baddbmm(part, gain, alpha=-1)
            values = simplex.kl_to_tilted(mass, differences)
            far = differences.amin(-1)[:, None] < -FAR
            if far.any().item():
                exact = simplex.kl(log_query, (log_query - differences).log_softmax(-1))[:, None]
                values = exact.where(far, values)
            parts.append(values)
        return torch.cat(parts, -1).view(*anchor.shape[:2], -1)


def rounding(policy: Tensor, reference: Tensor, beta: Tensor) -> Tensor:
    """The rounding error of KL(policy || best response), (S, X, 1)."""
    largest = policy.clamp(min=-700).amin(-1, keepdim=True) + reference.amin(-1, keepdim=True)
    return (((2 * beta).reciprocal() - largest) * EPS).square()

"""Stackelberg equilibria: a leader answers, and a follower that sees the answer tries to improve on it.

    max_pi min_omega  E_{y ~ pi, y' ~ omega(.|y)} [P(y > y')] + tau E_y KL(omega(.|y) || ref) - beta KL(pi || ref)

The follower's problem does not depend on the leader, so the solution is a closed form (arXiv:2512.16626):

    omega*(y'|y) ∝ ref(y') exp(-P(y > y')/tau),   V(y) = -tau log sum_y' ref(y') exp(-P(y > y')/tau),
    pi*(y) ∝ ref(y) exp(V(y)/beta).

A follower omega gives the leader the value V^omega(y) = E_{y' ~ omega(.|y)} P(y > y') + tau KL(omega(.|y) || ref). With
the best response BR ∝ ref exp(V^omega/beta), what both players could gain by deviating is

    gap(pi, omega) = beta KL(pi || BR) + sum_y pi(y) tau KL(omega(.|y) || omega*(.|y)).

It is 0 at the solution only. See docs/mathematics.md, "Leader and follower".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nlhf.equilibria.certificates import Equilibrium, rounding_floor
from nlhf.equilibria.metrics import Measure, best_response
from nlhf.numerics import simplex
from nlhf.policies.tabular import LeaderPolicy

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import Policy

METHOD = "closed form"


class Solved(NamedTuple):
    """A Stackelberg equilibrium.

    Args:
        leader: log pi*, (..., n).
        follower: log omega*(y'|y), (..., n, n).
        values: V, (..., n).
    """

    leader: Tensor
    follower: Tensor
    values: Tensor


def solve(advantage: Tensor, log_reference: Tensor, beta: Tensor, follower_beta: Tensor) -> Solved:
    """The closed form, for P - 1/2 (..., n, n), log-probabilities (..., n), and beta and tau >= 0 (..., 1).

    At tau = 0 and at beta = 0 it is the limit: among several best answers, the distribution nearest to the reference.
    """
    follower, losses = _softmax(-advantage, log_reference[..., None, :], follower_beta[..., None])
    values = 0.5 - losses
    return Solved(_softmax(values, log_reference, beta)[0], follower, values)


def _softmax(gain: Tensor, log_reference: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """log of ref exp(gain/beta) normalised, (..., n), and beta log sum ref exp(gain/beta), (...).

    At beta = 0 they are the reference on the best actions, and the largest gain.
    """
    largest = gain.amax(-1, keepdim=True)
    below = gain - largest
    tilted = log_reference + (below / beta.where(beta > 0, 1.0)).where(beta > 0, below * float("inf"))
    logits = tilted.where(below < 0, log_reference)  # 0 times infinity is nan
    total = logits.logsumexp(-1, keepdim=True)
    return logits - total, (largest + beta * total)[..., 0]


def equilibrium_of(
    advantage: Tensor, log_reference: Tensor, beta: float, follower_beta: float
) -> tuple[Equilibrium, Tensor]:
    """The leader's policy with its certificate, the gap, and the follower (..., n, n), for games (..., n, n)."""
    strengths = log_reference.new_tensor([beta]), log_reference.new_tensor([follower_beta])
    solved = solve(advantage, log_reference, *strengths)
    gap = _gap(solved.leader, solved.follower, solved, advantage, log_reference, *strengths)
    best = (solved.leader > -float("inf")).sum(-1)
    unique = best == 1 if beta == 0 else best > 0
    floor = rounding_floor(solved.leader, log_reference, beta)
    return Equilibrium(solved.leader, gap, floor, unique, METHOD), solved.follower


def _gap(
    leader: Tensor,
    follower: Tensor,
    solved: Solved,
    advantage: Tensor,
    log_reference: Tensor,
    beta: Tensor,
    follower_beta: Tensor,
) -> Tensor:
    """The gap of a leader (..., n) and a follower (..., n, n) per context, (...)."""
    values = simplex.value_against(follower, advantage, log_reference, follower_beta)
    loses = follower_beta * simplex.kl(follower, solved.follower)
    unregularised = (values - solved.values).where(follower_beta == 0, loses)
    return shortfall(leader, values, log_reference, beta) + simplex.mean_under(leader, unregularised)


def shortfall(leader: Tensor, values: Tensor, log_reference: Tensor, beta: Tensor) -> Tensor:
    """What a leader (..., n) loses against the best one for values (..., n), (...)."""
    response = best_response(values, log_reference, beta.where(beta > 0, 1.0))
    lost = values.amax(-1) - simplex.mean_under(leader, values)
    return lost.where(beta[..., 0] == 0, beta[..., 0] * simplex.kl(leader, response))


@dataclass(frozen=True)
class StackelbergMeasure(Measure):
    """Measures leaders and followers; the exploitability is what a leader loses when every follower is the best one.

    Args:
        follower_beta: tau, (S, 1, 1).
    """

    follower_beta: Tensor | None = None

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]:
        row = super().__call__(policy, average)
        return row | self._of_pair(policy) if isinstance(policy, LeaderPolicy) else row

    def _of_pair(self, policy: LeaderPolicy) -> dict[str, Tensor]:
        """The columns about a leader and its follower, (S) each."""
        leader = policy.log_probabilities
        follower = policy.follower.log_probabilities.view(*leader.shape, -1)
        advantage, tau = self.game.dense(), self._tau
        gap = _gap(leader, follower, self._solved, advantage, self.log_reference, self.beta, tau)
        values = simplex.value_against(follower, advantage, self.log_reference, tau)
        worth = simplex.mean_under(leader, values) - self.beta[..., 0] * simplex.kl(leader, self.log_reference)
        wins = 0.5 - simplex.mean_under(leader, simplex.mean_under(follower, advantage))
        columns = {"stackelberg_gap": gap, "leader_value": worth, "refinement_win_rate": wins}
        return {name: value.mean(-1) for name, value in columns.items()}

    def _exploitability(self, policy: Tensor, advantage: Tensor) -> Tensor:
        return shortfall(policy, self._solved.values, self.log_reference, self.beta).mean(-1)

    @property
    def _tau(self) -> Tensor:
        assert self.follower_beta is not None
        return self.follower_beta

    @cached_property
    def _solved(self) -> Solved:
        return solve(self.game.dense(), self.log_reference, self.beta, self._tau)

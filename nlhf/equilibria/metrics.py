"""Metrics: pure functions of log-probabilities and answers of the game, float64, shapes (S, X, Y) -> (S).

They are averages over contexts of sums of non-negative terms, so that an exploitability of 1e-25 is measured to a per
cent. These evaluations are not charged to an algorithm.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nlhf.budget import DENSE, Schedule
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from nlhf.regularisers.reverse_kl import REVERSE_KL

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.tree import Tree
    from nlhf.policies.base import Policy
    from nlhf.regularisers.base import Regulariser


def best_response(advantage: Tensor, log_reference: Tensor, beta: Tensor, tree: Tree | None = None) -> Tensor:
    """log of BR ∝ ref exp(A pi / beta), for advantage = A pi; beta > 0 broadcasts."""
    return REVERSE_KL.response(advantage, log_reference, beta, tree).log_policy


def exploitability_of(
    policy: Tensor, advantage: Tensor, log_reference: Tensor, beta: Tensor, tree: Tree | None = None
) -> Tensor:
    """max_mu P_beta(mu > pi) - 1/2 per context, for advantage = A pi; (..., n) -> (...).

    beta is a scalar tensor or broadcasts as (..., 1). For beta > 0 this is beta KL(pi || BR(pi)), which stays accurate
    far below 1e-16, unlike a difference of two log-sum-exps; for beta = 0 it is max_y (A pi)_y. With a tree, policies
    and responses are those of the tree.
    See docs/mathematics.md, "Best response and exploitability".
    """
    return REVERSE_KL.exploitability(policy, advantage, log_reference, beta, tree)


def exploitability_floor(policy: Tensor, log_reference: Tensor, beta: float | Tensor) -> Tensor:
    """The exploitability that rounding in float64 causes, for log-probabilities (..., n) -> (...).

    About beta (eps (max |log pi| + max |log ref| + 1/(2 beta)))^2, the first maximum over the support.
    See docs/mathematics.md, "Rounding".
    """
    largest = policy.abs().where(policy > -700, 0.0).amax(-1) + log_reference.abs().amax(-1)
    return beta * (sys.float_info.epsilon * (largest + 1 / (2 * beta))) ** 2


class Grades(Protocol):
    """The measure of a run, as the trainer uses it.

    Class attributes: `watched`, the column that must be finite, and `schedule`, when rows are recorded.
    """

    watched: ClassVar[str]
    schedule: ClassVar[Schedule] = DENSE
    unit: float = 1.0  # steps are divided by it in rows

    def initial_kl(self, policy: Policy) -> Tensor: ...

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]: ...

    def promised(self, bound: Tensor) -> Tensor:
        """The bound (S, 1, 1) on KL(pi* || pi) of a row, from the theorem's bound; nan if no theorem applies."""
        return bound * float("nan")

    def snapshot(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        return {}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        return


@dataclass(frozen=True)
class Measure(Grades):
    """Measures policies of one batch of seeds.

    Args:
        game: computes payoffs.
        log_reference: (1 or S, X, Y).
        beta: (S, 1, 1).
        log_equilibrium: (1 or S, X, Y), nan without a certified equilibrium, or None.
        held_out: measures the same policies at held-out contexts.
        rounding: relative rounding of the answers in training if it is coarser than float64, else 0.
        exact: True if every proximal step is solved exactly, as the theorems on KL(pi* || pi) assume.
        unit: of payoffs: the game's answers and beta are divided by it, and exploitabilities are multiplied by it.
        linear: the game that is played for P, for win rates; by default the same game.
        regulariser: beta is its strength.
    """

    game: FiniteGame
    log_reference: Tensor
    beta: Tensor
    log_equilibrium: Tensor | None = None
    held_out: Measure | None = None
    rounding: float = 0.0
    exact: bool = False
    unit: float = 1.0
    linear: FiniteGame | None = None
    regulariser: Regulariser = REVERSE_KL

    watched: ClassVar[str] = "exploitability"

    def initial_kl(self, policy: Policy) -> Tensor:
        """KL(pi* || pi) of the initial policy, (S)."""
        return self.kl_to_equilibrium(policy.log_probabilities)

    def promised(self, bound: Tensor) -> Tensor:
        """The theorem's bound plus the effect of rounding; nan if steps are not exact.

        An error d of the logits moves a fixed point by at most d^2 in KL, which is a squared distance. Policies are
        float64; a relative error r of the answers, which are at most 1/2, moves the logits of a response by r/(2 beta).
        """
        if not self.exact:
            return super().promised(bound)
        strength = self.regulariser.strength(self.beta, TabularPolicy(self.log_reference))
        strength = strength.where(strength > 0, self.beta)
        gain = (1 / (2 * strength)).where(self.beta > 0, float("nan") if self.rounding else 0.0)
        largest = self.log_reference.abs().amax((-1, -2), keepdim=True)
        error = 4 * sys.float_info.epsilon * (largest + gain) + self.rounding * gain
        return (bound.sqrt() + error) ** 2

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]:
        """The columns of one row, each (S), for a policy and the average (S, X, Y) of all policies, if there is one."""
        row = self.grade(policy.log_probabilities)
        if average is not None:
            answer = self.game.payoff(average.exp())
            row["average_exploitability"] = self._exploitability(average, answer)
        if self.held_out is not None and (elsewhere := policy.held_out) is not None:
            row |= {f"test_{name}": value for name, value in self.held_out.grade(elsewhere).items()}
        return row

    def grade(self, policy: Tensor) -> dict[str, Tensor]:
        """The metrics of log-probabilities (S, X, Y), each (S)."""
        advantage = self.game.payoff(policy.exp())
        linear = self.linear or self.game
        margins = advantage if linear is self.game else linear.payoff(policy.exp())
        row = {
            "exploitability": self._exploitability(policy, advantage),
            "exploitability_unregularised": self.unit
            * simplex.largest(advantage, self.game.tree).clamp(min=0.0).mean(-1),
            "kl_to_reference": simplex.kl(policy, self.log_reference).mean(-1),
            "entropy": simplex.entropy(policy).mean(-1),
            "win_rate_vs_reference": 0.5 - simplex.mean_under(self.log_reference, margins).mean(-1),
        }
        if self.regulariser.columns:
            penalty = self.regulariser.value(policy, self.log_reference).mean(-1)
            row["regularised_value"] = row["win_rate_vs_reference"] - self.unit * self.beta[:, 0, 0] * penalty
        if self.log_equilibrium is not None:
            spans = simplex.span(policy, self.log_equilibrium).amax(-1)
            row["kl_to_equilibrium"] = self.kl_to_equilibrium(policy)
            row["span_to_equilibrium"] = spans.where((self.beta[:, 0, 0] > 0) & spans.isfinite(), float("nan"))
        return row

    def kl_to_equilibrium(self, policy: Tensor) -> Tensor:
        """KL(pi* || pi) averaged over contexts, (S); nan without a certified equilibrium."""
        if self.log_equilibrium is None:
            return policy.new_full(policy.shape[:1], float("nan"))
        return simplex.kl(self.log_equilibrium.expand_as(policy), policy).mean(-1)

    def _exploitability(self, policy: Tensor, advantage: Tensor) -> Tensor:
        exploitability = self.regulariser.exploitability(
            policy, advantage, self.log_reference, self.beta, self.game.tree
        )
        return self.unit * exploitability.mean(-1)

"""Leader and follower: the follower sees the leader's answer and tries to improve on it (SLHF, arXiv:2512.16626).

    omega_{k+1}(.|y) = prox(opponent = y, anchor = omega_k(.|y), lambda_F)   for every answer y, with beta = tau
    pi_{k+1}         = prox(gain = V^omega_{k+1}, anchor = pi_k, lambda)

V^omega(y) is what answer y is worth against the follower: P(y > omega(.|y)) + tau KL(omega(.|y) || ref). The follower's
problem does not depend on the leader, so no step is too long, and infinite steps give the solution in one iteration.
Log-ratios of the follower to its solution shrink by 1/(1 + lambda_F tau), so what V^omega is off shrinks by the square
of that; those of the leader shrink by 1/(1 + lambda beta) towards the response to V^omega. An iteration costs a query
about every answer. The leader is not Smith-consistent: as beta and tau fall to 0 it becomes the Simpson-Kramer winner,
whose worst defeat is the smallest. See docs/mathematics.md, "Leader and follower".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, TrainablePolicy


@dataclass(frozen=True)
class StackelbergSteps(ProximalAlgorithm):
    """Mirror steps of follower and leader.

    Args:
        follower_step_size: lambda_F > 0 of the follower, in payoff units, or `.inf`.
    """

    follower_step_size: float

    sources = ("2512.16626",)
    needs = frozenset({"follower", "leads", "one-turn", "pairs", "reverse-kl", "sees"})
    provides = frozenset({"leader"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.follower_step_size > 0:
            raise ConfigError(
                f"algorithm.follower_step_size={self.follower_step_size} is not positive: give a number > 0, or .inf."
            )

    def check(self, beta: float) -> None:
        super().check(beta)
        if beta == 0 and self.follower_step_size == float("inf"):
            raise ConfigError(
                "beta=0 leaves an infinite step no solution: set beta > 0, or algorithm.follower_step_size=32."
            )

    def init(self, policy: TrainablePolicy) -> State:
        return State(policy.with_follower())

    def update(self, state: State, prox: Prox) -> State:
        step = prox.beta.new_full(prox.beta.shape, self.follower_step_size)
        return State(prox.lead(prox.follow(state.policy, step), self.step_size))

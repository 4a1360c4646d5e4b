"""Restarts at beta = 0: begin again from the average, or from the half step, when it is much less exploitable.

Since the last restart, from a policy of exploitability e, sum the half steps h and their answers with their steps:

    avg = sum lambda_k h_k / sum lambda_k,   A avg = sum lambda_k A h_k / sum lambda_k    (no further query)

As soon as min(max_y (A avg)_y, max_y (A h)_y) <= restart * e, the better of the two is the new policy and the sums are
empty. Averages have a sublinear rate for every step that (M) accepts; restarts turn it into a linear one, which is
measured, not proved. Contexts restart independently. See docs/mathematics.md, "Restarts". Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from nlhf.algorithms.base import ConfigError, Policy, Prox, ProximalAlgorithm, Tensor, TrainablePolicy
from nlhf.policies.tabular import TabularPolicy


@dataclass(frozen=True)
class Epoch:
    """The iterations since the last restart: the sums of half steps and answers, and where they began."""

    log_sum: Tensor  # log sum lambda_k h_k, (S, X, Y)
    answers: Tensor  # sum lambda_k A h_k, (S, X, Y)
    weight: Tensor  # sum lambda_k, (S, X, 1)
    exploitability: Tensor  # of the policy of the last restart, (S, X, 1)

    @classmethod
    def first(cls, policy: Policy) -> Self:
        """The epoch before the first iteration."""
        zero = policy.log_probabilities.new_zeros(policy.log_probabilities.shape)
        return cls(zero.log(), zero, weight=zero[..., :1], exploitability=1 / zero[..., :1])

    def after(self, half: Policy, answer: Tensor, step: Tensor, accepted: Tensor) -> Epoch:
        """This epoch with one more half step in the contexts (S, X, 1) that accepted it."""
        return replace(
            self,
            log_sum=self.log_sum.logaddexp(half.log_probabilities + step.log()).where(accepted, self.log_sum),
            answers=self.answers + (step * answer).where(accepted, 0.0),
            weight=self.weight + step.where(accepted, 0.0),
        )


@dataclass(frozen=True)
class Restarting(ProximalAlgorithm):
    """Base of the algorithms that can restart.

    Args:
        restart: restart as soon as the exploitability is this fraction of its value at the last restart, in (0, 1);
            null never restarts.
    """

    restart: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart is not None and not 0 < self.restart < 1:
            raise ConfigError(f"algorithm.restart={self.restart} is outside (0, 1): give a fraction such as 0.3.")

    def check(self, beta: float) -> None:
        super().check(beta)
        if self.restart is not None and beta != 0:
            raise ConfigError(
                f"algorithm.restart={self.restart} is for beta=0, and at beta={beta} the rate is linear without "
                "restarts: set beta=0, or algorithm.restart=null."
            )

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.restart is None else frozenset({"bilinear", "exact"})

    def first_epoch(self, policy: Policy) -> Epoch | None:
        """The epoch before the first iteration; None without restarts."""
        return None if self.restart is None else Epoch.first(policy)

    def restarted(
        self, epoch: Epoch, prox: Prox, new: TrainablePolicy, half: TrainablePolicy, step: Tensor, accepted: Tensor
    ) -> tuple[Tensor, TrainablePolicy, TrainablePolicy, Epoch]:
        """Restart where it is due.

        Args:
            new, half: the policy of this iteration and the half step that led to it.
            step: of this iteration, (S, 1, 1) or (S, X, 1).
            accepted: the contexts (S, X, 1) that take the step.

        Returns: the contexts that restart, (S, X, 1); the next policy and half step; the next epoch.
        """
        assert self.restart is not None
        answer = prox.advantage(half)
        step = step.expand_as(epoch.weight)
        epoch = epoch.after(half, answer, step, accepted)
        average_answer = epoch.answers / epoch.weight.where(epoch.weight > 0, 1.0)
        of_average, of_half = prox.largest_gain(average_answer), prox.largest_gain(answer)
        lowest = of_average.minimum(of_half)
        due = accepted & (lowest <= self.restart * epoch.exploitability)
        if not due.any():
            return due, new, half, epoch
        average = TabularPolicy(epoch.log_sum.log_softmax(-1))
        prox.record_answer(average, average_answer)
        best = prox.select(of_average <= of_half, average, half)
        empty = replace(Epoch.first(half), exploitability=lowest)
        following = Epoch(
            **{name: getattr(empty, name).where(due, getattr(epoch, name)) for name in Epoch.__dataclass_fields__}
        )
        return due, prox.select(due, best, new), prox.select(due, best, half), following

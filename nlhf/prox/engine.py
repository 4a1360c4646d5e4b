"""The base of all prox engines: one engine solves the problems of one run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nlhf.config import ConfigError
from nlhf.policies.select import choose
from nlhf.prox.base import AnyPolicy, Parts, ProximalProblem
from nlhf.prox.ledger import Ledger, as_mask

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import PairGame
    from nlhf.policies.base import Policy, TrainablePolicy
    from nlhf.regularisers.base import Contraction


NO_FOLLOWER = "this prox has no steps for a leader and a follower: set prox=exact, or prox=gradient with prox.samples."


class ProxEngine(ABC):
    """Solves the problems of a run. Only seeds in `active` (S) are charged; the others have stopped.

    Attributes:
        current: the policy at the start of the iteration, the default start of an iterative engine. The trainer sets
            it; without a trainer, an iterative engine starts at the anchor.
        iterations: completed by every seed, (S). The trainer sets it.
        rate: `Algorithm.target_rate`. The trainer sets it.
        limits_steps: False for algorithms whose own steps decrease. The trainer sets it.
    """

    current: Policy | None = None
    rate: float = 1.0
    limits_steps: bool = True

    def __init__(self, parts: Parts[PairGame]) -> None:
        seeds = parts.beta.shape[0]
        self.reference, self.beta, self.regulariser = parts.reference, parts.beta, parts.regulariser
        self.follower_beta = parts.follower_beta
        self.ledger, self.active = Ledger(seeds), np.ones(seeds, bool)
        self.iterations = np.zeros(seeds, np.int64)
        self._masked: tuple[np.ndarray, Tensor | None] = self.active.copy(), None

    def __call__(
        self,
        *,
        opponent: Policy,
        anchor: Policy,
        step_size: Tensor,
        start: Policy | None = None,
        partner: Policy | None = None,
    ) -> TrainablePolicy:
        """Solve one problem (see `Prox`)."""
        return self.solve(ProximalProblem(opponent, anchor, step_size, start, partner))

    @abstractmethod
    def solve(self, problem: ProximalProblem) -> TrainablePolicy:
        """Solve one problem."""

    @abstractmethod
    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        """A new answer y -> P(y > policy) - 1/2, shape (S, X, Y), and the number of queries per seed that it costs.

        Args:
            active: the seeds that ask, (S) bool.
        """

    @property
    def queries(self) -> np.ndarray:
        """Queries charged to every seed, (S)."""
        return self.ledger.queries

    def advantage(self, policy: Policy) -> Tensor:
        """The answer about a policy; seeds that asked before get the same answer, free of charge."""
        return self.ledger.answer(policy, self.active, self.ask)

    def record_answer(self, policy: Policy, answer: Tensor) -> None:
        """Store an answer that follows from earlier ones, free of charge."""
        self.ledger.record(policy, answer, self.active)

    def local_step(self, policy: Policy, step_size: Tensor) -> TrainablePolicy:
        """A step in each turn by itself (see `Prox`): here there is one turn."""
        return self(opponent=policy, anchor=policy, step_size=step_size)

    def follow(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        """A step of the follower (see `Prox`).

        Raises: ConfigError, unless the engine implements it.
        """
        raise ConfigError(NO_FOLLOWER)

    def lead(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        """A step of the leader (see `Prox`).

        Raises: ConfigError, unless the engine implements it.
        """
        raise ConfigError(NO_FOLLOWER)

    def largest_gain(self, answer: Tensor) -> Tensor:
        """What the best policy gains against the policy of an answer (see `Prox`)."""
        return answer.amax(-1, keepdim=True)

    @property
    def strength(self) -> Tensor:
        """The strength of convexity relative to KL, (S, 1, 1): it takes the place of beta in step sizes and rates."""
        return self.regulariser.strength(self.beta, self.reference)

    def contraction(self, half: Policy, new: Policy, step_size: Tensor) -> Contraction:
        """The parts of identity (M) of a proximal step (see `Prox`)."""
        return self.regulariser.contraction(
            half.log_probabilities, new.log_probabilities, self.reference.log_probabilities, step_size * self.beta
        )

    def step(self, step_size: Tensor) -> Tensor:
        """The step size that is used when an algorithm asks for `step_size`: here the same."""
        return step_size

    @property
    def mask(self) -> Tensor | None:
        """The active seeds as a tensor (S), or None if all are active; the same object until they change."""
        seeds, mask = self._masked
        if not np.array_equal(seeds, self.active):
            mask = None if self.active.all() else as_mask(self.active, self.beta)
            self._masked = self.active.copy(), mask
        return mask

    def wait(self) -> float:
        """Wait until the device has finished its queue, and return the seconds; 0 on a CPU."""
        if self.beta.device.type == "cpu":
            return 0.0
        import torch

        started = time.perf_counter()
        torch.accelerator.synchronize(self.beta.device)
        return time.perf_counter() - started

    def select(self, mask: Tensor, first: AnyPolicy, second: AnyPolicy) -> AnyPolicy:
        """`first` where `mask` is true, else `second`, with the answers about them.

        The engine caches its own `mask` on the host, so reading it never waits for the device.
        """
        seeds, cached_mask = self._masked
        by_context = seeds[:, None] if mask is cached_mask else mask.reshape(len(mask), -1).cpu().numpy()
        if by_context.all():
            return first
        if not by_context.any() and second.memory is None:  # an optimiser's steps belong to the batch
            return second
        chosen: AnyPolicy = choose(mask, first, second)
        self.ledger.combine(chosen, by_context, mask, (first, second))
        return chosen

    def regularised(self, beta: Tensor, reference: Policy, current: Policy | None = None) -> Self:
        """A view with another beta and reference (see `Prox`); it shares the ledger."""
        view = copy(self)
        view.beta, view.reference, view.current = beta, reference, current or self.current
        return view

    def snapshot(self) -> dict[str, Any]:
        """The content of a checkpoint: with it, a resumed run gets the same answers and query counts."""
        return self.ledger.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self.ledger.restore(snapshot)

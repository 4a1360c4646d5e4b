"""A prox engine solves the one problem that algorithms are made of,

    max_pi  P(pi > opponent) - beta KL(pi || reference) - (1/step_size) KL(pi || anchor),

and counts the preference queries that this takes. An algorithm calls it and does not know how it is solved.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from weakref import WeakKeyDictionary

import numpy as np

from nlhf.policies.base import choose

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.feedback import Feedback
    from nlhf.games.protocol import FiniteGame
    from nlhf.policies.base import Policy


class Prox(Protocol):
    """What an algorithm sees of an engine."""

    beta: Tensor  # (S, 1, 1)
    reference: Policy

    def __call__(self, *, opponent: Policy, anchor: Policy, step_size: Tensor, start: Policy | None = None) -> Policy:
        """Solve the problem above.

        Args:
            start: where an iterative engine begins; by default the policy that the iteration began with.
        """

    def advantage(self, policy: Policy) -> Tensor:
        """y -> P(y > policy) - 1/2, shape (S, X, Y); charged once per policy object."""

    def step(self, step_size: Tensor) -> Tensor:
        """The step size (S, 1, 1) that the engine takes where an algorithm asks for `step_size`."""

    def select(self, mask: Tensor, first: Policy, second: Policy) -> Policy:
        """`first` where `mask`, (S) or (S, X, 1), is true, `second` elsewhere; what was asked stays answered, in seeds
        where it was asked about in all contexts."""

    def regularised(self, beta: Tensor, reference: Policy, current: Policy | None = None) -> Prox:
        """The same game with another beta (S, 1, 1) and reference: the same answers, on the same bill.

        Args:
            current: the policy with which an inner iteration begins; by default that of the outer one.
        """


@dataclass(frozen=True)
class Parts:
    """What an engine works with.

    Args:
        game: answers queries.
        reference: of the KL term.
        beta: (S, 1, 1).
        seeds: S of them.
        feedback: what is told about single pairs.
    """

    game: FiniteGame
    reference: Policy
    beta: Tensor
    seeds: list[int]
    feedback: Feedback


@dataclass(frozen=True)
class ProxFamily(ABC):
    """What `prox=<name>` builds: how problems are solved. Subclasses are frozen dataclasses.

    Args:
        budget: limits of budget=short, default and long for this engine, where those of prox=exact do not fit.

    Class attributes: `random`, does the seed draw the feedback?, and `remedy`, what to try where a run diverges.
    """

    budget: dict[str, dict[str, int | None]] | None = field(default=None, kw_only=True, compare=False)

    random: ClassVar[bool] = False
    remedy: ClassVar[str] = "a smaller algorithm.step_size or a larger beta may help"

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """What game, policy and algorithm must offer."""

    @property
    @abstractmethod
    def provides(self) -> frozenset[str]:
        """What it offers to algorithms."""

    @property
    def exact(self) -> bool:
        """True if every proximal step is solved exactly, so that the theorems about exact steps apply."""
        return "exact" in self.provides

    @property
    def decreasing(self) -> bool:
        """True if it shortens steps from iteration to iteration, so that at beta > 0 no method can cycle."""
        return False

    @property
    def sources(self) -> tuple[str, ...]:
        """The arXiv numbers of what it does."""
        return ()

    def caveat(self, beta: float) -> str | None:
        """Where its solutions rest, if that is not the solution of the problem."""
        return None

    @abstractmethod
    def engine(self, parts: Parts) -> ProxEngine:
        """The engine of a run."""


class ProxEngine(ABC):
    """Solves the problems of one run.

    Answers are remembered with the policy object, seed by seed. `queries` (S) counts what was asked; only seeds in
    `active` (S) are charged, for a seed that has stopped no longer asks.

    Attributes:
        current: the policy with which the iteration began, where an iterative engine starts by default. The trainer
            sets it; an engine that is used alone starts at the anchor.
        iterations: that every seed has completed, (S). The trainer sets it.
        rate: of the algorithm's moving target (`Algorithm.target_rate`). The trainer sets it.
    """

    current: Policy | None = None
    rate: float = 1.0

    def __init__(self, parts: Parts) -> None:
        seeds = parts.beta.shape[0]
        self.game, self.reference, self.beta = parts.game, parts.reference, parts.beta
        self.queries, self.active = np.zeros(seeds, np.int64), np.ones(seeds, bool)
        self.iterations = np.zeros(seeds, np.int64)
        self._masked: tuple[np.ndarray, Tensor | None] = self.active.copy(), None
        self._answers: WeakKeyDictionary[Policy, tuple[Tensor, np.ndarray]] = WeakKeyDictionary()

    @abstractmethod
    def __call__(self, *, opponent: Policy, anchor: Policy, step_size: Tensor, start: Policy | None = None) -> Policy:
        """Solve one problem (see `Prox`)."""

    @abstractmethod
    def ask(self, policy: Policy, asking: np.ndarray) -> tuple[Tensor, int]:
        """A fresh answer y -> P(y > policy) - 1/2, shape (S, X, Y), and the queries that it takes per seed.

        Args:
            asking: which seeds ask, (S) bool.
        """

    def advantage(self, policy: Policy) -> Tensor:
        """The answer about a policy; seeds that asked before get the same answer, free of charge."""
        answer, known = self._answers.get(policy, (None, None))
        if known is None or answer is None:
            answer, cost = self.ask(policy, self.active)
            self.queries += cost * self.active
            self._answers[policy] = answer, self.active.copy()
        elif (missing := self.active & ~known).any():
            fresh, cost = self.ask(policy, missing)
            self.queries += cost * missing
            answer = choose(as_mask(known, fresh), answer, fresh)
            self._answers[policy] = answer, known | missing
        return answer

    def step(self, step_size: Tensor) -> Tensor:
        """The step size that is taken where an algorithm asks for `step_size`: here the same."""
        return step_size

    @property
    def mask(self) -> Tensor | None:
        """The active seeds as a tensor (S), the same one until they change; None while all are."""
        seeds, mask = self._masked
        if not np.array_equal(seeds, self.active):
            mask = None if self.active.all() else as_mask(self.active, self.beta)
            self._masked = self.active.copy(), mask
        return mask

    def wait(self) -> float:
        """Seconds until the device has done what it was asked for; a CPU has done it."""
        if self.beta.device.type == "cpu":
            return 0.0
        import torch

        started = time.perf_counter()
        torch.accelerator.synchronize(self.beta.device)
        return time.perf_counter() - started

    def select(self, mask: Tensor, first: Policy, second: Policy) -> Policy:
        """`first` where `mask`, else `second`, with the answers that are known about them; of its own `mask` the host
        knows what it holds, and need not wait for it."""
        seeds, own = self._masked
        by_context = seeds[:, None] if mask is own else mask.reshape(len(mask), -1).cpu().numpy()
        if by_context.all():
            return first
        if not by_context.any() and second.memory is None:  # an optimiser's steps belong to the batch
            return second
        chosen: Policy = choose(mask, first, second)
        answers = [self._answers.get(policy) for policy in (first, second)]
        if found := [answer for answer in answers if answer is not None]:
            nobody = np.zeros(len(self.queries), bool)
            (answer, known), (other, other_known) = (answer or (found[0][0], nobody) for answer in answers)
            known = np.asarray(np.where(by_context, known[:, None], other_known[:, None]).all(1))
            if known.any():
                self._answers[chosen] = choose(mask, answer, other), known
        return chosen

    def regularised(self, beta: Tensor, reference: Policy, current: Policy | None = None) -> Self:
        """A view with another beta and reference (see `Prox`); it shares the answers and the bill."""
        view = copy(self)
        view.beta, view.reference, view.current = beta, reference, current or self.current
        return view

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint must hold to go on with the same answers and the same bill."""
        answers = [(policy, answer, known.tolist()) for policy, (answer, known) in self._answers.items()]
        return {"queries": self.queries.tolist(), "answers": answers}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take up where `snapshot` was taken."""
        self.queries = np.array(snapshot["queries"], dtype=np.int64)
        self._answers = WeakKeyDictionary(
            {policy: (answer, np.array(known)) for policy, answer, known in snapshot["answers"]}
        )


def as_mask(seeds: np.ndarray, like: Tensor) -> Tensor:
    """A mask of seeds as a tensor on the device of `like`."""
    return like.new_tensor(seeds).bool()

"""An algorithm says which proximal problems are solved, in which order: an immutable value with `init` and `update`.

It is written against `prox` (nlhf/prox/base.py) and knows neither the game nor the class of policies nor how a problem
is solved. Every tensor of a `State` has the seeds as its first dimension, so that a stopped seed can be frozen.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from nlhf.config import ConfigError
from nlhf.policies.base import Advice, Policy
from nlhf.prox.base import Prox

if TYPE_CHECKING:
    from torch import Tensor

    StepSize = Tensor  # (S, 1, 1), what `bind` makes of it
else:
    Tensor = Any  # an algorithm needs no torch to be imported
    StepSize = float | Literal["theory"]  # what the config says

__all__ = ["Algorithm", "ConfigError", "CountingState", "Policy", "Prox", "ProximalAlgorithm", "State", "Tensor"]


@dataclass(frozen=True)
class State:
    """What an algorithm carries from one iteration to the next; its `policy` is what is measured."""

    policy: Policy


@dataclass(frozen=True)
class CountingState(State):
    """The policy and the number of iterations that led to it, (S, 1, 1)."""

    iteration: Tensor

    @classmethod
    def first(cls, policy: Policy) -> Self:
        """Before the first iteration."""
        return cls(policy, policy.per_seed())


@dataclass(frozen=True)
class Algorithm(ABC):
    """Base of all algorithms.

    Args:
        gradient: how its authors take gradient steps, the defaults of prox=gradient: surrogate, inner_steps, baseline.
    """

    gradient: Advice | None = field(default=None, kw_only=True)

    @property
    def needs(self) -> frozenset[str]:
        """What game, policy and prox must offer, words of nlhf/runner/specification.py."""
        return frozenset()

    @property
    def provides(self) -> frozenset[str]:
        """What it offers to prox."""
        return frozenset()

    @property
    def averaging(self) -> int:
        """Iterate k has the weight (k+1)^averaging in the average that is measured."""
        return 0

    @property
    def target_rate(self) -> float:
        """Rate by which a moving target follows the policy, which averages the noise of 1/rate answers.

        1 where there is no such target. 0 for methods whose own steps decrease as the theory under noise asks.
        """
        return 1.0

    @property
    def sources(self) -> tuple[str, ...]:
        """The arXiv numbers that the docstring of the algorithm's module names, those of inner algorithms behind."""
        text = sys.modules[type(self).__module__].__doc__ or ""
        inner = [value for part in fields(self) if isinstance(value := getattr(self, part.name), Algorithm)]
        found = [
            *re.findall(r"arXiv:(\d{4}\.\d{4,5})", text),
            *(source for algorithm in inner for source in algorithm.sources),
        ]
        return tuple(dict.fromkeys(found))

    def caveat(self, beta: float) -> str | None:
        """Where the method rests, if that is not the equilibrium: its floor is then bias, not noise. None where it is.

        Args:
            beta: of the game.
        """
        return None

    def cycling(self, beta: float) -> str | None:
        """Why the last iterate can cycle with steps of this size, if it can. Steps that decrease end the cycles."""
        return None

    @abstractmethod
    def update(self, state: Any, prox: Prox) -> Any:
        """One iteration."""

    def init(self, policy: Policy) -> State:
        """The state before the first iteration."""
        return State(policy)

    def check(self, beta: float) -> None:  # noqa: B027 (nothing to refuse is the usual case)
        """Refuse a beta that this algorithm, with its options, cannot work with.

        Raises: ConfigError.
        """

    def bind(self, beta: Tensor) -> Self:
        """This algorithm for the game's beta (S, 1, 1)."""
        return self

    def current_step(self, state: Any, beta: Tensor) -> Tensor:
        """The step size of the iteration that starts from `state`, the log's column, (S, 1, 1); nan where none is."""
        return beta.new_full(beta.shape, float("nan"))

    def step_taken(self, state: Any, prox: Prox) -> Tensor:
        """The step size after the engine has limited it, (S, 1, 1), in the units of `current_step`."""
        return prox.step(self.current_step(state, prox.beta))

    def kl_bound(self, state: Any, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        """What theory promises for KL(pi* || pi) in `state`, after `iteration` iterations from `initial`.

        All shapes (S, 1, 1); nan where no theorem covers this algorithm and step size.
        """
        return beta.new_full(beta.shape, float("nan"))


@dataclass(frozen=True)
class ProximalAlgorithm(Algorithm):
    """Base of the algorithms that move by proximal steps of a size that is given.

    Args:
        step_size: lambda > 0 in payoff units, `.inf`, or `theory` for the default of the theorem.
    """

    step_size: StepSize

    def __post_init__(self) -> None:
        step: Any = self.step_size
        if isinstance(step, int | float) and not step > 0:
            raise ConfigError(f"algorithm.step_size={step} is not positive: give a number > 0, .inf or theory.")

    @property
    def by_theory(self) -> bool:
        """Is the step size left to the theorem?"""
        return isinstance(self.step_size, str)

    def check(self, beta: float) -> None:
        if beta == 0 and self.step_size == float("inf"):
            raise ConfigError(
                "beta=0 leaves an infinite step no solution: set beta > 0 or give a finite algorithm.step_size."
            )

    def bind(self, beta: Tensor) -> Self:
        """This algorithm with its step size as a tensor (S, 1, 1), for the game's beta (S, 1, 1)."""
        return replace(self, step_size=self.theory_step(beta) if self.by_theory else beta * 0 + self.step_size)

    def theory_step(self, beta: Tensor) -> Tensor:
        """The step size that the theorem recommends, shape (S, 1, 1)."""
        raise NotImplementedError(f"{type(self).__name__} has no theorem")

    def current_step(self, state: Any, beta: Tensor) -> Tensor:
        return self.step_size

    def contraction(self, beta: Tensor) -> Tensor:
        """A factor by which every iteration is proved to shrink KL(pi* || pi); nan where no theorem covers the step."""
        return beta.new_full(beta.shape, float("nan"))

    def kl_bound(self, state: Any, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        return initial * (iteration * self.contraction(beta).log()).exp()

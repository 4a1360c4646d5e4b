"""An algorithm decides which proximal problems are solved, in which order: an immutable value with `init` and `update`.

It is written against `prox` (nlhf/prox/base.py) and does not depend on the game, the class of policies or the engine.
Every tensor of a `State` has the seeds as its first dimension, so that a stopped seed can be frozen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from nlhf.budget import Schedule
from nlhf.config import ConfigError
from nlhf.policies.base import Advice, Policy, TrainablePolicy
from nlhf.prox.base import Prox

if TYPE_CHECKING:
    from torch import Tensor

    StepSize = Tensor  # (S, 1, 1), set by `bind`
else:
    Tensor = Any  # algorithms are imported without torch
    StepSize = float | Literal["theory"]  # in the config

__all__ = [
    "Algorithm",
    "ConfigError",
    "CountingState",
    "Policy",
    "Prox",
    "ProximalAlgorithm",
    "State",
    "Tensor",
    "TrainablePolicy",
]


@dataclass(frozen=True)
class State:
    """The values that an algorithm carries from one iteration to the next; `policy` is the one that is measured."""

    policy: TrainablePolicy


@dataclass(frozen=True)
class CountingState(State):
    """The policy and the number of iterations that led to it, (S, 1, 1)."""

    iteration: Tensor

    @classmethod
    def first(cls, policy: TrainablePolicy) -> Self:
        """The state before the first iteration."""
        return cls(policy, policy.per_seed())


@dataclass(frozen=True)
class Algorithm(ABC):
    """Base of all algorithms.

    Args:
        gradient: defaults of prox=gradient, as in the algorithm's paper: surrogate, inner_steps, baseline.

    Class attributes: `sources`, the arXiv numbers of the papers that the algorithm is from; `columns`, which it adds to
    rows; `schedule` of its rows, None for that of the measure; `few_iterations`, as `PolicyFamily.few_iterations`.
    """

    gradient: Advice | None = field(default=None, kw_only=True)

    sources: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    schedule: ClassVar[Schedule | None] = None
    few_iterations: ClassVar[int] = 100

    @property
    def cited(self) -> tuple[str, ...]:
        """The arXiv numbers to cite for this algorithm with its options."""
        return self.sources

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that game, policy and prox must offer, by their names in nlhf/runner."""
        return frozenset()

    @property
    def provides(self) -> frozenset[str]:
        """Capabilities that it offers to prox."""
        return frozenset()

    @property
    def averaging(self) -> int:
        """Iterate k has the weight (k+1)^averaging in the average that is measured."""
        return 0

    @property
    def target_rate(self) -> float:
        """Rate of the moving target, which averages the noise of 1/rate answers; 1 without a moving target."""
        return 1.0

    @property
    def paces_itself(self) -> bool:
        """True if its own steps decrease as the theory under noise requires, so that no engine limits them."""
        return False

    def caveat(self, beta: float) -> str | None:
        """How the fixed point differs from the equilibrium at beta: then the floor is bias, not noise. None if not."""
        return None

    def cycling(self, beta: float, unit: float = 1.0) -> str | None:
        """Why the last iterate can cycle with this step, or None; the text undoes the division by `unit`."""
        return None

    @abstractmethod
    def update(self, state: Any, prox: Prox) -> Any:
        """One iteration."""

    def init(self, policy: TrainablePolicy) -> State:
        """The state before the first iteration."""
        return State(policy)

    def check(self, beta: float) -> None:  # noqa: B027 (most algorithms work with every beta)
        """Raise a ConfigError for a beta that this algorithm, with its options, cannot work with."""

    def bind(self, beta: Tensor) -> Self:
        """This algorithm for the game's beta (S, 1, 1)."""
        return self

    def in_units(self, unit: float) -> Self:
        """This algorithm for payoffs that are divided by `unit`: all steps are multiplied by it."""
        return self

    def current_step(self, state: Any, beta: Tensor) -> Tensor:
        """The step size of the iteration that starts from `state`, (S, 1, 1), for the log; nan if there is none."""
        return beta.new_full(beta.shape, float("nan"))

    def step_taken(self, state: Any, prox: Prox) -> Tensor:
        """The step size after the engine has limited it, (S, 1, 1), in the units of `current_step`."""
        return prox.step(self.current_step(state, prox.beta))

    def measured(self, state: Any, prox: Prox) -> dict[str, Tensor]:
        """The values (S) of `columns`."""
        return {}

    def kl_bound(self, state: Any, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        """The proved bound on KL(pi* || pi) in `state`, after `iteration` iterations from KL `initial`.

        All shapes (S, 1, 1); nan if no theorem covers this algorithm and step size.
        """
        return beta.new_full(beta.shape, float("nan"))


@dataclass(frozen=True)
class ProximalAlgorithm(Algorithm):
    """Base of the algorithms that take proximal steps with a `step_size` option.

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
        """True if the theorem sets the step size."""
        return isinstance(self.step_size, str)

    def check(self, beta: float) -> None:
        if beta == 0 and self.step_size == float("inf"):
            raise ConfigError(
                "beta=0 leaves an infinite step no solution: set beta > 0 or give a finite algorithm.step_size."
            )

    def bind(self, beta: Tensor) -> Self:
        """This algorithm with its step size as a tensor (S, 1, 1), for the game's beta (S, 1, 1)."""
        return replace(self, step_size=self.theory_step(beta) if self.by_theory else beta * 0 + self.step_size)

    def in_units(self, unit: float) -> Self:
        return self if self.by_theory else replace(super().in_units(unit), step_size=unit * self.step_size)

    def theory_step(self, beta: Tensor) -> Tensor:
        """The step size that the theorem recommends, (S, 1, 1); a ConfigError unless a subclass implements it."""
        raise ConfigError(f"algorithm.step_size=theory: {type(self).__name__} has no theorem, give a number > 0.")

    def current_step(self, state: Any, beta: Tensor) -> Tensor:
        return self.step_size

    def contraction(self, beta: Tensor) -> Tensor:
        """The proved contraction factor of KL(pi* || pi) per iteration; nan if no theorem covers the step."""
        return beta.new_full(beta.shape, float("nan"))

    def kl_bound(self, state: Any, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        return initial * (iteration * self.contraction(beta).log()).exp()

"""Prox engines solve the proximal problem that every algorithm is built from,

    max_pi  P(pi > opponent) - beta R(pi) - (1/step_size) KL(pi || anchor),

where R is the regulariser, by default KL(pi || reference), and count the preference queries that each solution takes.
An algorithm calls `prox` without knowing how it solves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from nlhf.config import ConfigError
from nlhf.regularisers.base import Contraction, Regulariser
from nlhf.regularisers.reverse_kl import REVERSE_KL

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.feedback import Feedback
    from nlhf.games.protocol import FiniteGame, PairGame
    from nlhf.policies.base import Policy, TrainablePolicy
    from nlhf.prox.engine import ProxEngine

AnyPolicy = TypeVar("AnyPolicy", bound="Policy")
AnyGame = TypeVar("AnyGame", bound="PairGame", covariant=True)


class Prox(Protocol):
    """The part of an engine that an algorithm sees."""

    beta: Tensor  # (S, 1, 1)
    reference: Policy

    def __call__(
        self,
        *,
        opponent: Policy,
        anchor: Policy,
        step_size: Tensor,
        start: Policy | None = None,
        partner: Policy | None = None,
    ) -> TrainablePolicy:
        """Solve a `ProximalProblem`."""

    def advantage(self, policy: Policy) -> Tensor:
        """y -> P(y > policy) - 1/2, shape (S, X, Y); charged once per policy object."""

    def record_answer(self, policy: Policy, answer: Tensor) -> None:
        """Store the exact answer (S, X, Y) about a policy that follows from earlier answers, free of charge.

        Answers are linear: the answer about an average is the average of the answers.
        """

    def local_step(self, policy: Policy, step_size: Tensor) -> TrainablePolicy:
        """A proximal step from a policy against itself, in each turn of a conversation by itself.

        Later turns have the value that they have under `policy`. With one turn it is `prox(policy, policy)`.
        """

    def follow(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        """The leader with the follower after a proximal step against each of the leader's answers."""

    def lead(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        """The leader after a proximal step for the values of its answers against the follower."""

    def largest_gain(self, answer: Tensor) -> Tensor:
        """What the best policy gains against the policy of an answer (S, X, Y), (S, X, 1)."""

    def contraction(self, half: Policy, new: Policy, step_size: Tensor) -> Contraction:
        """The parts of identity (M) for new = prox(opponent=half, step_size), in each context, (S, X, 1)."""

    def step(self, step_size: Tensor) -> Tensor:
        """The step size (S, 1, 1) that the engine uses when an algorithm asks for `step_size`."""

    def select(self, mask: Tensor, first: AnyPolicy, second: AnyPolicy) -> AnyPolicy:
        """`first` where `mask`, (S) or (S, X, 1), is true, `second` elsewhere.

        A seed whose contexts were all answered for its source policy pays nothing for the result.
        """

    def regularised(self, beta: Tensor, reference: Policy, current: Policy | None = None) -> Prox:
        """The same game with another beta (S, 1, 1) and reference; answers and query counts are shared.

        Args:
            current: the policy at the start of an inner iteration; by default the policy of the outer iteration.
        """


@dataclass(frozen=True, slots=True)
class ProximalProblem:
    """One proximal problem.

    Args:
        opponent: the policy to win against.
        anchor: the policy to stay near.
        step_size: weight of the gain relative to the distance from the anchor, (S, 1, 1); inf drops the anchor.
        start: initial policy of an iterative engine; by default the policy at the start of the iteration.
        partner: draws the second action of each pair in the losses `logistic` and `enpo`; by default the opponent.
    """

    opponent: Policy
    anchor: Policy
    step_size: Tensor
    start: Policy | None = None
    partner: Policy | None = None


@dataclass(frozen=True)
class Parts(Generic[AnyGame]):
    """The inputs of an engine.

    Args:
        game: answers the queries.
        reference: the policy that the regulariser pulls to.
        beta: strength of the regulariser, (S, 1, 1).
        seeds: S of them.
        feedback: the annotator's noise in answers about single pairs.
        regulariser: of the game.
        follower_beta: strength of the KL term of a follower, if there is one, (S, 1, 1).
    """

    game: AnyGame
    reference: Policy
    beta: Tensor
    seeds: list[int]
    feedback: Feedback
    regulariser: Regulariser = REVERSE_KL
    follower_beta: Tensor | None = None


@dataclass(frozen=True)
class ProxFamily(ABC):
    """Base of the choices of `prox=<name>`: how problems are solved. Subclasses are frozen dataclasses.

    Args:
        budget: limits of budget=short, default and long for this engine, where they differ from prox=exact.

    Class attributes: `sources`, arXiv numbers of the method; `remedy`, advice for a run that diverges.
    """

    budget: dict[str, dict[str, int | None]] | None = field(default=None, kw_only=True, compare=False)

    sources: ClassVar[tuple[str, ...]] = ()
    remedy: ClassVar[str] = "a smaller algorithm.step_size or a larger beta may help"

    @property
    def random(self) -> bool:
        """True if answers depend on the seed."""
        return False

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """Capabilities that game, policy and algorithm must offer."""

    @property
    @abstractmethod
    def provides(self) -> frozenset[str]:
        """Capabilities that the engine offers to algorithms."""

    @property
    def exact(self) -> bool:
        """True if every proximal step is solved exactly, so that the theorems about exact steps apply."""
        return "exact" in self.provides

    @property
    def decreasing(self) -> bool:
        """True if it shortens steps from iteration to iteration, so that at beta > 0 no method can cycle."""
        return False

    @property
    def cited(self) -> tuple[str, ...]:
        """The arXiv numbers to cite for this engine with its options."""
        return self.sources

    def caveat(self, beta: float) -> str | None:
        """How the engine's fixed point differs from the solution of the problem; None if it does not."""
        return None

    @abstractmethod
    def engine(self, parts: Parts[FiniteGame]) -> ProxEngine:
        """The engine for a game whose actions can be listed."""

    def pair_engine(self, parts: Parts[PairGame]) -> ProxEngine:
        """The engine for a game that compares pairs only.

        Raises: ConfigError, unless a subclass implements it.
        """
        raise ConfigError(
            f"prox={type(self).__name__} queries whole policies, but this game compares pairs only: set "
            "prox=gradient with prox.samples."
        )

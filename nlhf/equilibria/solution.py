"""What is solved: the choices of `solution=<name>`. No torch import."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.equilibria.cache import Certified
    from nlhf.equilibria.metrics import Measure
    from nlhf.games.protocol import FiniteGame
    from nlhf.regularisers.base import Regulariser


@dataclass(frozen=True)
class Instances:
    """The games of a run, and how their solutions are computed (see `reference_equilibria`)."""

    game: FiniteGame
    log_reference: Tensor
    beta: float
    choice: str
    cache: Path
    unit: float
    regulariser: Regulariser


class Solution(ABC):
    """Base of the solutions; subclasses are frozen dataclasses.

    Class attributes: `needs` and `provides`, capabilities as of every other part; `columns`, which it adds to rows of
    games whose actions are listed; `sources`, the arXiv numbers to cite; `caveat`, what a reader has to be warned of;
    `refine`, the user's sentence after which a language model improves its answer, if there is a follower.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ()
    caveat: ClassVar[str | None] = None
    refine: str | None = None

    def follower_strength(self, beta: Tensor) -> Tensor | None:
        """The strength of the follower's KL term for every seed, (S, 1, 1); None without a follower."""
        return None

    @abstractmethod
    def certified(self, instances: Instances) -> Certified | None:
        """The solutions of every instance with certificates or None."""

    @abstractmethod
    def measure(self, game: FiniteGame, log_reference: Tensor, beta: Tensor, **options: Any) -> Measure:
        """Grades policies; `options` are further arguments of `Measure`."""


@dataclass(frozen=True)
class Nash(Solution):
    """The symmetric Nash equilibrium."""

    provides = frozenset({"nash"})

    def certified(self, instances: Instances) -> Certified | None:
        from nlhf.equilibria.cache import reference_equilibria

        game, log_reference, beta = instances.game, instances.log_reference, instances.beta
        return reference_equilibria(
            game, log_reference, beta, instances.choice, instances.cache, instances.unit, instances.regulariser
        )

    def measure(self, game: FiniteGame, log_reference: Tensor, beta: Tensor, **options: Any) -> Measure:
        from nlhf.equilibria.metrics import Measure

        return Measure(game, log_reference, beta, **options)


@dataclass(frozen=True)
class Stackelberg(Solution):
    """A leader, and a follower that sees the leader's answer.

    Args:
        follower_beta: tau, strength of the follower's KL term, > 0; null takes beta.
        refine: the user's sentence after the leader's answer, to which a language model replies as the follower.
    """

    follower_beta: float | None
    refine: str = "Improve the previous answer."  # missing in configs of older runs

    needs = frozenset({"leader"})
    provides = frozenset({"follower"})
    columns = ("stackelberg_gap", "leader_value", "refinement_win_rate")
    sources = ("2512.16626",)
    caveat = "a Stackelberg leader is not Smith-consistent: it may play an answer that loses to every answer of a cycle"

    def __post_init__(self) -> None:
        if self.follower_beta is not None and not 0 < self.follower_beta < float("inf"):
            raise ConfigError(
                f"solution.follower_beta={self.follower_beta} is out of range: give a finite number > 0, or null."
            )
        if not self.refine.strip():
            raise ConfigError("solution.refine is empty: give a sentence that asks for a better answer.")

    def follower_strength(self, beta: Tensor) -> Tensor:
        return beta if self.follower_beta is None else beta * 0 + self.follower_beta

    def certified(self, instances: Instances) -> Certified | None:
        from nlhf.equilibria.cache import summarised
        from nlhf.equilibria.stackelberg import equilibrium_of
        from nlhf.games.base import check_dense

        game = instances.game
        count, actions = len(game.content) * len(game.contexts), len(game.items)
        if game.content.numel() < count * actions**2:  # the game is no table yet
            check_dense(count, actions, "choose solution=nash with another algorithm")
        if instances.choice == "never":
            return None
        advantage, log_reference = game.dense().cpu(), instances.log_reference.cpu()
        tau = instances.beta if self.follower_beta is None else self.follower_beta
        shared = log_reference.expand(max(len(advantage), len(log_reference)), -1, -1)
        return summarised(equilibrium_of(advantage, shared, instances.beta, tau)[0], instances.beta, instances.unit)

    def measure(self, game: FiniteGame, log_reference: Tensor, beta: Tensor, **options: Any) -> Measure:
        from nlhf.equilibria.stackelberg import StackelbergMeasure

        return StackelbergMeasure(game, log_reference, beta, follower_beta=self.follower_strength(beta), **options)

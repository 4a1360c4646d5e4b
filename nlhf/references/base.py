"""Reference policies of the KL term, the choices of `reference=<name>`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.numerics.bradley_terry import bradley_terry_scores, connected_parts, likelihood_scores, unbounded
from nlhf.numerics.streams import stream
from nlhf.references.weights import read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame


log = logging.getLogger(__name__)


class Reference(ABC):
    """Base of the references; subclasses are frozen dataclasses."""

    random: ClassVar[bool] = False  # True if the seed draws it

    @abstractmethod
    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        """Log-probabilities (S, X, Y), or (1, X, Y) if the seeds share the reference."""


class Independent(Reference):
    """Base of the references that depend only on the size of the game."""

    @abstractmethod
    def logits(self, contexts: int, actions: int, rng: np.random.Generator) -> np.ndarray:
        """Unnormalised log-probabilities, shape (X, n)."""

    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        shape = len(game.contexts), len(game.items)
        drawn = [self.logits(*shape, stream(seed, "reference")) for seed in (seeds if self.random else seeds[:1])]
        return _normalised(np.stack(drawn))


@dataclass(frozen=True)
class Uniform(Independent):
    """The same weight on every action."""

    def logits(self, contexts: int, actions: int, rng: np.random.Generator) -> np.ndarray:
        return np.zeros((contexts, actions))


@dataclass(frozen=True)
class RandomLogits(Independent):
    """Normal logits of standard deviation `scale`, drawn by the seed, independent over contexts and actions."""

    scale: float

    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise ConfigError(f"reference.scale={self.scale} is out of range: give a finite number >= 0.")

    def logits(self, contexts: int, actions: int, rng: np.random.Generator) -> np.ndarray:
        with np.errstate(over="ignore"):  # refused by `check_reference`
            return self.scale * rng.standard_normal((contexts, actions))


@dataclass(frozen=True)
class FromFile(Reference):
    """Positive weights from a csv, npz or npy file, matched with the game's items by name if the file has names."""

    path: InputFile | None

    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        if self.path is None:
            raise ConfigError("reference.path is not set: give reference.path=FILE with one weight per item.")
        weights = read_weights(self.path, game)
        logits = reference_logits(weights, len(game.contexts), len(game.items), self.path.name)
        return _normalised(logits[None])


@dataclass(frozen=True)
class BradleyTerryFit(Reference):
    """The strengths of a Bradley-Terry model fitted to the game, as a reward model would learn them.

    The policy is proportional to exp(s). In a game of votes the scores s maximise the likelihood of the counted votes,

        sum_ij W_ij log sigmoid(s_i - s_j) - prior |s|^2/2,    W_ij the wins of i over j, ties as half wins,

    so that pairs without votes have no weight; game.pseudo_count counts as votes. In any other game they maximise
    sum_ij P_ij log sigmoid(s_i - s_j) - ridge |s|^2/2. A transitive game has P_ij = pi_i/(pi_i + pi_j).

    Args:
        ridge: > 0, for games without votes; keeps the scores of items finite that always win or lose.
        prior: >= 0, for games of votes: precision of a normal prior on the scores. At 0 an item that won or lost
            every vote is refused, since its score would be infinite.
    """

    ridge: float
    prior: float

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise ConfigError(f"reference.ridge={self.ridge} is out of range: give a finite number > 0.")
        if not 0 <= self.prior < float("inf"):
            raise ConfigError(f"reference.prior={self.prior} is out of range: give a finite number >= 0.")

    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        if game.wins is not None:
            return _normalised(self._of_votes(game, game.wins, seeds))
        preference = game.linear.dense().cpu().numpy() + 0.5
        fits = [bradley_terry_scores(table, self.ridge) for instance in preference for table in instance]
        return _normalised(np.stack(fits).reshape(preference.shape[:3]))

    def _of_votes(self, game: FiniteGame, wins: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Scores (S, X, n) of counted wins (S, X, n, n)."""
        scores, separate = np.empty(wins.shape[:3]), 0
        for instance, context in np.ndindex(wins.shape[:2]):
            where = f" in context {game.contexts[context]}" if len(game.contexts) > 1 else ""
            where += f" in the votes of seed {seeds[instance]}" if len(wins) > 1 else ""
            scores[instance, context] = self._scores(wins[instance, context], game.items, where)
            separate += connected_parts(wins[instance, context]).max() > 0
        if separate:
            log.warning(
                "reference=bradley_terry: in %d of %d tables of votes some items were never compared, not "
                "even indirectly; the scores of each connected part have mean 0",
                separate,
                scores[..., 0].size,
            )
        return scores

    def _scores(self, wins: np.ndarray, items: Sequence[str], where: str) -> np.ndarray:
        if self.prior == 0 and (extreme := unbounded(wins)) is not None:
            raise ConfigError(_without_maximum([items[k] for k in extreme[0]], extreme[1], where))
        try:
            return likelihood_scores(wins, self.prior)
        except ArithmeticError as error:
            raise ConfigError(
                f"reference=bradley_terry finds no scores{where} ({error}): set reference.prior=1, or choose another "
                "reference."
            ) from error


def _without_maximum(items: list[str], won: bool, where: str) -> str:
    """Why the likelihood has no maximum: these items won every vote, or lost every one."""
    names = ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    opponents = " against the other items" if len(items) > 1 else ""
    return (
        f"reference=bradley_terry: {names} {'won' if won else 'lost'} every vote{opponents}{where}, and the likelihood "
        "of the votes has no maximum: set reference.prior=0.1 or game.pseudo_count=0.5, or drop items."
    )


def _normalised(logits: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(logits).log_softmax(-1)


def check_reference(log_reference: Tensor, game: FiniteGame, seeds: int, key: str) -> None:
    """Refuse a reference that is not a policy of this game; `key` names it in messages, `reference=MyReference`.

    Raises: ConfigError for a shape other than (1 or `seeds`, X, Y), for logarithms that are not finite, and for
    probabilities that do not sum to 1.
    """
    shape = len(game.contexts), len(game.items)
    if tuple(log_reference.shape) not in {(count, *shape) for count in (1, seeds)}:
        raise ConfigError(f"{key} has shape {tuple(log_reference.shape)}: give (1, {shape[0]}, {shape[1]}).")
    if not bool(log_reference.isfinite().all()) or not bool((log_reference.logsumexp(-1).abs() < 1e-6).all()):
        raise ConfigError(
            f"{key} has weights that are infinite, zero or do not sum to 1: give weights that are nearer "
            "to each other, normalised."
        )


def reference_logits(weights: np.ndarray, contexts: int, actions: int, source: str) -> np.ndarray:
    """Logarithms (X, n) of weights of shape (n), (1, n), (n, 1) or (X, n).

    Raises: ConfigError for other shapes and for weights that are not positive and finite.
    """
    array = np.asarray(weights, dtype=np.float64)
    if array.shape in ((actions,), (1, actions), (actions, 1)):
        array = np.broadcast_to(array.reshape(1, actions), (contexts, actions))
    if array.shape != (contexts, actions):
        raise ConfigError(f"{source} has shape {np.shape(weights)}: give ({actions},) or ({contexts}, {actions}).")
    if not (np.isfinite(array) & (array > 0)).all():
        wrong = array[~(np.isfinite(array) & (array > 0))][0]
        raise ConfigError(f"{source} has the weight {wrong:g}: give positive finite weights (1e-300 is one).")
    return np.log(array)

"""Reference policies: what the KL term keeps a policy close to. `reference=<name>` builds one of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nlhf.bradley_terry import bradley_terry_scores
from nlhf.config import ConfigError
from nlhf.inputs import InputFile
from nlhf.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.base import FiniteGame


class Reference(ABC):
    """Base of the references; subclasses are frozen dataclasses."""

    random: ClassVar[bool] = False  # does the seed draw it?

    @abstractmethod
    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        """Log-probabilities (S, X, Y), or (1, X, Y) where the seeds share the reference."""


class Independent(Reference):
    """Base of the references that know the game's size alone."""

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
            raise ConfigError(f"reference.scale={self.scale} is no standard deviation: give a finite number >= 0.")

    def logits(self, contexts: int, actions: int, rng: np.random.Generator) -> np.ndarray:
        return self.scale * rng.standard_normal((contexts, actions))


@dataclass(frozen=True)
class FromFile(Independent):
    """Positive weights from a file, csv or npy, of shape (n) or (X, n) in the order of the game's items."""

    path: InputFile | None

    def logits(self, contexts: int, actions: int, rng: np.random.Generator) -> np.ndarray:
        if self.path is None:
            raise ConfigError("reference.path is not set: give reference.path=FILE with one weight per item.")
        return reference_logits(_weights(self.path), contexts, actions, f"reference.path={self.path}")


def _weights(file: InputFile) -> np.ndarray:
    """The weights in a csv or npy file, as they are."""
    key = file.name
    if file.suffix == ".npy":
        array = (file.arrays() or {}).get("")
        if array is None or array.dtype.kind not in "fiu":
            raise ConfigError(f"{key} is not an array of numbers: save one with numpy.save.")
        return array.astype(np.float64)
    table = []
    for number, row in file.rows():
        try:
            table.append([float(cell) for cell in row])
        except ValueError as error:
            raise ConfigError(f"{key}: row {number} is not all numbers ({error}): mend it.") from error
        if len(row) != len(table[0]):
            raise ConfigError(f"{key}: row {number} has another length than the first: mend it.")
    return np.array(table)


@dataclass(frozen=True)
class BradleyTerryFit(Reference):
    """The strengths of the Bradley-Terry model that fits the same game best: what a reward model would make of it.

    Per instance and context the scores s maximise  sum_ij P_ij log sigmoid(s_i - s_j) - ridge |s|^2/2,  and the policy
    is proportional to exp(s), so that a transitive game has P_ij = pi_i/(pi_i + pi_j).

    Args:
        ridge: > 0 keeps the scores of items finite that win or lose against all others for certain.
    """

    ridge: float

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise ConfigError(f"reference.ridge={self.ridge} is out of range: give a finite number > 0.")

    def build(self, game: FiniteGame, seeds: list[int]) -> Tensor:
        preference = game.dense().cpu().numpy() + 0.5
        fits = [bradley_terry_scores(table, self.ridge) for instance in preference for table in instance]
        return _normalised(np.stack(fits).reshape(preference.shape[:3]))


def _normalised(logits: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(logits).log_softmax(-1)


def reference_logits(weights: np.ndarray, contexts: int, actions: int, source: str) -> np.ndarray:
    """Logarithms (X, n) of weights of shape (n), (1, n), (n, 1) or (X, n).

    Raises: ConfigError for another shape, or a weight that is not positive and finite.
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

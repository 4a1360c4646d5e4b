"""The options of training a judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlhf.config import ConfigError
from nlhf.numerics.streams import LARGEST_SEED
from nlhf.votes.formats.base import BothBad

MOST_PAIRS = 64  # of a step that trains the encoder
MINIMA = {
    "max_tokens": 2,
    "batch": 1,
    "epochs": 1,
    "pairs": 1,
    "folds": 2,
    "inner_folds": 1,
    "dimensions": 2,
    "hidden": 0,
    "seed": 0,
}
Judge = Literal["bradley_terry", "general_preference", "pairwise_model"]


@dataclass(frozen=True)
class Training:
    """The keys of conf/train_judge.yaml; see there for their meaning."""

    data: str
    judge: Judge
    out: str
    source: list[str] | None
    encoder: str
    fine_tune: bool
    max_tokens: int
    batch: int
    surface: bool
    embedding: float
    hidden: int
    dimensions: int
    dropout: float
    penalties: list[float]
    cyclic: float
    balance: bool
    learning_rate: float
    encoder_learning_rate: float
    epochs: int
    pairs: int
    folds: int
    inner_folds: int
    seed: int
    # missing in judges of older versions
    device: str = "cpu"
    columns: dict[str, str] | None = None
    both_bad: BothBad = "tie"
    where: dict[str, str | int | float | bool | list[str | int | float | bool]] | None = None

    def __post_init__(self) -> None:
        for name, minimum in MINIMA.items():
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}={getattr(self, name)} is too small: give {minimum} or more.")
        if self.seed > LARGEST_SEED:
            raise ConfigError(f"seed={self.seed} is too large: give {LARGEST_SEED} (2^63 - 1) or less.")
        for name in ("learning_rate", "encoder_learning_rate", "embedding", "cyclic"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}={getattr(self, name)} is out of range: give a finite number > 0.")
        if self.dimensions % 2:
            raise ConfigError(f"dimensions={self.dimensions} is odd: a skew-symmetric form needs pairs of them.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is out of range: give a number in [0, 1).")
        if self.fine_tune and self.pairs > MOST_PAIRS:
            raise ConfigError(
                f"pairs={self.pairs} is too much for fine_tune=true, which keeps all their activations: give pairs=16, "
                f"at most {MOST_PAIRS}."
            )
        if not self.penalties or not all(0 <= value < float("inf") for value in self.penalties):
            raise ConfigError(f"penalties={list(self.penalties)}: give one or more numbers >= 0.")

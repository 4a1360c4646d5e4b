"""The keys of conf/arena.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.arena.meetings import Next
from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.numerics.streams import LARGEST_SEED


@dataclass(frozen=True)
class Options:
    """The keys of conf/arena.yaml, which explains them; `judge` and `policy` are built apart."""

    prompts: InputFile | None
    most_prompts: int
    completions: int
    reference: bool
    block: int
    next: Next
    precision: float | None
    target: float | None
    redraws: int
    seed: int
    device: str
    out: str | None
    best_of: list[int]

    def __post_init__(self) -> None:
        for name in ("most_prompts", "completions", "block", "redraws"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} is too small: give 1 or more.")
        if len(set(self.best_of)) < len(self.best_of) or any(count < 2 for count in self.best_of):
            raise ConfigError(f"best_of={list(self.best_of)} is out of range: give distinct numbers of 2 or more.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed={self.seed} is out of range: give a whole number from 0 to {LARGEST_SEED}.")
        if self.target is not None and not 0 <= self.target < 0.5:
            raise ConfigError(f"target={self.target} is out of range: give a number in [0, 0.5), or null.")
        if self.precision is not None and not 0 < self.precision < 0.5:
            raise ConfigError(f"precision={self.precision} is out of range: give a number in (0, 0.5), or null.")

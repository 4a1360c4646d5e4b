"""When a seed stops: by queries, iterations, seconds or a target, whichever comes first. No torch import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.config import ConfigError


@dataclass(frozen=True)
class Budget:
    """Limits of a run; null means no limit.

    Args:
        queries: preference queries; an iteration that has begun is finished.
        iterations: iterations of the algorithm.
        seconds: training time.
        target: an exploitability; scheduled rows are compared with it.
    """

    queries: int | None
    iterations: int | None
    seconds: float | None
    target: float | None

    def __post_init__(self) -> None:
        limits = {
            "queries": self.queries,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "target": self.target,
        }
        for name, limit in limits.items():
            if limit is not None and not 0 <= limit < float("inf"):
                raise ConfigError(f"budget.{name}={limit} is not a limit: give a finite number >= 0, or null for none.")
        if all(limit is None for limit in limits.values()):
            raise ConfigError(f"budget has no limit ({', '.join(limits)} are null): set one, or the run never ends.")


@dataclass
class Progress:
    """How far each seed has come.

    Args:
        iterations, queries: (S) int64.
        best: lowest exploitability on a scheduled row, (S).
        seconds: training time of the batch.
    """

    iterations: np.ndarray
    queries: np.ndarray
    best: np.ndarray
    seconds: float = 0.0

    @classmethod
    def none(cls, seeds: int) -> Progress:
        """The progress before the first row."""
        return cls(np.zeros(seeds, np.int64), np.zeros(seeds, np.int64), np.full(seeds, np.inf))

    def log_weight(self, power: int, active: np.ndarray) -> np.ndarray | None:
        """log (k + 1)^power for the current iteration k of each seed, (S); None without weights.

        The weights of stopped seeds are not used.
        """
        if not power:
            return None
        return power * np.log1p(np.where(active, self.iterations, self.iterations.max()))

    def of(self, seed: int) -> dict[str, Any]:
        """The cost of the seed at this position in the batch, for a row."""
        return {"iteration": int(self.iterations[seed]), "queries": int(self.queries[seed]), "seconds": self.seconds}

    def to_json(self) -> dict[str, Any]:
        """For summary.json and checkpoints."""
        return {"iterations": self.iterations.tolist(), "queries": self.queries.tolist(), "best": self.best.tolist(),
                "seconds": self.seconds}  # fmt: skip

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Progress:
        """The inverse of `to_json`."""
        iterations, queries = (np.array(saved[name], dtype=np.int64) for name in ("iterations", "queries"))
        return cls(iterations, queries, np.array(saved["best"], dtype=np.float64), float(saved["seconds"]))


def spent(budget: Budget, progress: Progress) -> np.ndarray:
    """True for the seeds that have reached a limit, (S); this rule stops runs and decides if they are completed."""
    late = budget.seconds is not None and progress.seconds >= budget.seconds
    reached = np.full(len(progress.iterations), late)
    for limit, value in ((budget.queries, progress.queries), (budget.iterations, progress.iterations)):
        if limit is not None:
            reached |= value >= limit
    return reached if budget.target is None else reached | (progress.best <= budget.target)


def stop_reason(budget: Budget, progress: Progress) -> str:
    """The names of the limits that the seeds reached."""
    reasons = {
        "target": budget.target is not None and (progress.best <= budget.target).any(),
        "queries": budget.queries is not None and (progress.queries >= budget.queries).any(),
        "iterations": budget.iterations is not None and (progress.iterations >= budget.iterations).any(),
        "seconds": budget.seconds is not None and progress.seconds >= budget.seconds,
    }
    return ", ".join(name for name, reached in reasons.items() if reached)


def cut_short(budget: Budget, progress: Progress, few: int) -> str | None:
    """A sentence for a run that only its query budget ended, after fewer than `few` iterations; else None."""
    iterations, queries = int(progress.iterations.max()), int(progress.queries.max())
    if stop_reason(budget, progress) != "queries" or not 0 < iterations < few:
        return None
    each = -(-queries // iterations)
    return (f"budget.queries={budget.queries} ended this run after {iterations} iteration{'s' * (iterations > 1)} of "
            f"about {each} queries each: repeat the command with budget.queries={few * each} or more, and it goes on "
            "from here.")  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """The iterations at which a run records permanent rows.

    They do not depend on the clock or the budget. Runs therefore share their rows, and a resumed run has the rows of
    one that was never stopped.

    Args:
        first: iterations below 10.
        decade: iterations from 10 to 99. The later ones are these times powers of ten.
    """

    first: tuple[int, ...]
    decade: tuple[int, ...]

    def includes(self, iteration: int) -> bool:
        """True if a row is recorded at this iteration."""
        if iteration < 10:
            return iteration in self.first
        while iteration >= 100:
            iteration, remainder = divmod(iteration, 10)
            if remainder:
                return False
        return iteration in self.decade

    def following(self, iteration: int) -> int:
        """The first scheduled iteration after this one."""
        iteration += 1
        while not self.includes(iteration):
            iteration += 1
        return iteration


DENSE = Schedule(first=(0, 1, 2, 3, 4, 5, 6, 8), decade=(10, 12, 15, 20, 25, 30, 40, 50, 60, 80))
EVERY = Schedule(first=tuple(range(10)), decade=tuple(range(10, 100)))  # all below 100, every tenth below 1000, ...
SPARSE = Schedule(first=(0, 5), decade=(10, 20, 40, 70))  # where measuring costs more than training

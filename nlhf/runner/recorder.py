"""What a trainer reports to: rows and checkpoints, and the error of a run that diverged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nlhf.budget import Progress

# Called after every iteration with the progress and the columns of the last row, which list all seeds of the batch
Tick = Callable[[Progress, Mapping[str, list[float]]], None]


class DivergedError(RuntimeError):
    """A scheduled row was not finite."""


class Recorder(Protocol):
    """Stores a trainer's rows and checkpoints."""

    def row(self, seed: int, values: dict[str, Any], policy: Any) -> None:
        """Store one row of the seed at this position in the batch; `policy` holds the policies of the batch."""

    def checkpoint(self, content: dict[str, Any]) -> None:
        """Store the rows so far and this content, so that the run can go on from here."""


def no_tick(progress: Progress, row: Mapping[str, list[float]]) -> None:
    """A Tick that shows nothing."""

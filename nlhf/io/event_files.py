"""TensorBoard event files (extra `tensorboard`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLUSH = 2  # seconds until TensorBoard can read a row


def open_events(folder: Path, first_step: int | None = None) -> SummaryWriter:
    """A writer of event files in a folder.

    Args:
        first_step: TensorBoard ignores what earlier files of the folder say about this step and later ones.

    Raises: ImportError without TensorBoard.
    """
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step, flush_secs=FLUSH)


def add_row(writer: SummaryWriter, values: Mapping[str, float], step: int, time: float | None = None) -> None:
    """Write one scalar per value that is a number.

    Args:
        time: of the row, in seconds; by default now.
    """
    for name, value in values.items():
        if not math.isnan(value):
            writer.add_scalar(name, value, step, walltime=time)

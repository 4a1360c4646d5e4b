"""Runs as TensorBoard event files (extra `tensorboard`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.errors import AnalysisError
from nlhf.io.event_files import add_row, open_events
from nlhf.io.files import writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def write(data: pd.DataFrame, folder: Path, criterion: Criterion) -> int:
    """Write a scalar per metric and row, a TensorBoard run per run and seed; returns the number of runs.

    The step is the criterion's cost.

    Raises: AnalysisError if TensorBoard is not installed, or the cost is not an integer; WriteError.
    """
    if criterion.x == "seconds":
        raise AnalysisError(
            "--x=seconds cannot be a step of TensorBoard, which is an integer: give --x queries or iteration."
        )
    metrics = list(data.columns[data.columns.get_loc("exploitability") : data.columns.get_loc("random")])
    count = 0
    for (run, seed), rows in data.groupby(["run", "seed"], sort=True):
        with writing(folder), _events(folder / str(run) / f"seed-{seed}") as writer:
            for row in rows.to_dict("records"):
                values = {name: float(row[name]) for name in metrics}
                add_row(writer, values, row[criterion.x], row["seconds"])
        count += 1
    return count


def _events(folder: Path) -> SummaryWriter:
    try:
        return open_events(folder)
    except ImportError as error:
        raise AnalysisError('--tensorboard needs TensorBoard: pip install -e ".[tensorboard]".') from error

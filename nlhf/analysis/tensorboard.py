"""Runs as TensorBoard event files (extra `tensorboard`), for people who keep the viewer they like."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.errors import AnalysisError
from nlhf.io.files import writing


def write(data: pd.DataFrame, folder: Path, criterion: Criterion) -> int:
    """A scalar per metric and row, a TensorBoard run per run and seed, stepped by the criterion's cost; how many runs.

    Raises: AnalysisError if TensorBoard is not installed, or a step would not be whole; WriteError.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AnalysisError('--tensorboard needs TensorBoard: pip install -e ".[tensorboard]".') from error
    if criterion.x == "seconds":
        raise AnalysisError("--x=seconds is no step of TensorBoard, which counts: give --x queries or iteration.")
    metrics = list(data.columns[data.columns.get_loc("exploitability") : data.columns.get_loc("status")])
    count = 0
    for (run, seed), rows in data.groupby(["run", "seed"], sort=True):
        with writing(folder), SummaryWriter(str(folder / str(run) / f"seed-{seed}")) as writer:
            for row in rows.to_dict("records"):
                for name in metrics:
                    if pd.notna(row[name]):
                        writer.add_scalar(name, row[name], row[criterion.x], walltime=row["seconds"])
        count += 1
    return count

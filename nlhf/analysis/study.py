"""A tree of runs as one tidy DataFrame."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from nlhf.analysis import row_cache
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.labels import DIGESTS, INPUTS, label
from nlhf.analysis.run_folder import FILES, read_run
from nlhf.io.files import is_moved_aside, replacing
from nlhf.records import ADDED
from nlhf.terminal import visible


@dataclass(frozen=True)
class Study:
    """The rows and records of all runs below a folder.

    Args:
        root: the folder.
        rows: as `load` returns them.
        runs: a record per run, also of runs without rows: as `read_run` returns it, and `rows`, their number.
    """

    root: Path
    rows: pd.DataFrame
    runs: list[dict[str, Any]]

    @property
    def experiment(self) -> str | None:
        """The preset that made all runs, if there is one."""
        presets = {
            next(
                (word.removeprefix("experiment=") for word in run["overrides"] if word.startswith("experiment=")), None
            )
            for run in self.runs
        }
        return presets.pop() if len(presets) == 1 else None


def load(folder: str | PathLike[str]) -> pd.DataFrame:
    """All rows of all runs below a folder, with their config and status.

    Returns: one row per (run, seed, evaluation): the columns of metrics.csv, `status` (`completed`, `failed`,
    `interrupted`, or `unfinished` for a run that has not ended), `random`, False if all seeds would be equal, `folder`,
    a column per entry of the run's config, nested keys joined by dots (`beta`, `game.actions`, `algorithm.step_size`),
    checksums of its input files (as `inputs.game.path`) and of its setting and method (`digests.setting`,
    `digests.method`), and its names `setting` and `method` (`label`). Runs that differ only in their seeds share both
    names. A warning names damaged files; runs that need them are left out.

    Raises: AnalysisError if there is no folder or no row in it, or if two runs have the same seed of the same setting
    and method.
    """
    study = load_study(folder)
    if damage := [sentence for run in study.runs for sentence in run["damage"]]:
        warnings.warn("\n".join(map(visible, damage)), stacklevel=2)
    return study.rows


def load_study(folder: str | PathLike[str]) -> Study:
    """As `load`, with a record per run and without warnings; the rows of many runs are cached.

    Raises: AnalysisError.
    """
    root = Path(folder)
    folders = list(_run_folders(root))
    if not folders:
        raise AnalysisError(f"{root} holds no run (no metrics.csv): give the folder of a study, runs/STUDY.")
    rows, runs = row_cache.cached_rows(root, folders, FILES, read_run)
    if rows.empty:
        damage = [sentence for run in runs for sentence in run["damage"]]
        nothing = f"no run below {root} has rows yet: wait, or repeat the command that made them."
        raise AnalysisError(damage[0] if damage else nothing)
    frame = pd.DataFrame([_columns(run) for run in runs])
    if "beta" in frame:
        beta = pd.to_numeric(frame["beta"], errors="coerce")
        frame["beta"] = beta.where(beta >= 0)  # nan for a config that was damaged
    frame = frame[[name for name in frame.columns if name not in rows.columns]]
    of_run = rows.pop("run_number").to_numpy()
    joined = frame.take(of_run).set_index(rows.index)
    rows = label(pd.concat([rows, joined], axis=1))
    _refuse_duplicates(rows)
    return Study(root, rows, runs)


def _columns(run: dict[str, Any]) -> dict[str, Any]:
    """The columns added to a run's rows: status, folder, config, and checksums that identify settings."""
    head = {"random": run["summary"].get("random", True), "status": run["status"], "folder": run["folder"]}
    checksums = {
        f"{prefix}{name}": value
        for prefix, key in ((DIGESTS, "digests"), (INPUTS, "inputs"))
        for name, value in (run["summary"].get(key) or {}).items()
    }
    return {**head, **ADDED, **run["config"], **checksums, **head}


def export(data: pd.DataFrame, path: Path) -> None:
    """Write the rows as .csv (exact numbers) or .parquet (columns of mixed types as text).

    Raises: AnalysisError for another ending; WriteError, which leaves an earlier file unchanged.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise AnalysisError(f"--export={path} has an unknown ending: give FILE.csv or FILE.parquet.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with replacing(path) as stream:
            data.to_csv(stream, index=False, lineterminator="\n", quoting=_quoting(data))
    else:
        mixed = [str(name) for name in data if data[name].dtype == object]
        texts = data.assign(**{name: data[name].map(str, na_action="ignore") for name in mixed})
        with replacing(path, "wb") as stream:
            stream.write(texts.to_parquet(None, index=False))


def _quoting(data: pd.DataFrame) -> Literal[0, 2]:
    """How to quote a CSV file: all texts if one has a carriage return, which pandas does not quote."""
    texts = (value for name in data.select_dtypes(exclude="number") for value in data[name].unique())
    return csv.QUOTE_NONNUMERIC if any("\r" in str(value) for value in texts) else csv.QUOTE_MINIMAL


def _run_folders(root: Path) -> Iterator[Path]:
    """All folders of runs below `root`, except hidden ones and those that force=true moved aside."""
    for folder, folders, files in os.walk(root):
        if ".hydra" in folders or "metrics.csv" in files or "summary.json" in files:
            yield Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_moved_aside(name))


def _refuse_duplicates(rows: pd.DataFrame) -> None:
    pairs = rows[["setting", "method", "seed", "folder"]].drop_duplicates()
    twice = pairs[pairs.duplicated(["setting", "method", "seed"], keep=False)]
    if not twice.empty:
        first = twice.iloc[0]
        same = (twice["setting"] == first["setting"]) & (twice["method"] == first["method"])
        folders: Sequence[str] = twice.loc[same & (twice["seed"] == first["seed"]), "folder"].tolist()
        raise AnalysisError(
            f"{folders[0]} and {folders[1]} both have seed {first['seed']} of {first['method']} on "
            f"{first['setting']}: remove one of them, or give a folder that holds only one."
        )

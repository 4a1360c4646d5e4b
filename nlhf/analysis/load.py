"""A tree of runs as one tidy DataFrame."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

_BOOKKEEPING = ("seeds", "study", "runs_dir", "progress", "keep_checkpoint", "checkpoint_seconds", "log_policy",
                "device", "names.", "budget.")  # fmt: skip


class NothingToAnalyseError(ValueError):
    """A folder without usable runs: one sentence with the remedy."""


def load(folder: str | PathLike[str]) -> pd.DataFrame:
    """All rows of all runs below a folder, with their config and status.

    Returns: one row per (run, seed, evaluation): the columns of metrics.csv, `status` (`completed`, `failed`,
    `interrupted`, or `unfinished` where there is no summary), `folder`, and a column per entry of the run's config,
    nested keys joined by dots (`beta`, `game.actions`, `algorithm.step_size`).

    Raises: NothingToAnalyseError where there is no folder or no run in it.
    """
    root = Path(folder)
    files = sorted(root.rglob("metrics.csv"))
    if not files:
        raise NothingToAnalyseError(f"{root} holds no run (no metrics.csv): give runs/STUDY of a study that was run.")
    runs = [frame for file in files if not (frame := _load_run(file)).empty]
    if not runs:
        raise NothingToAnalyseError(f"no run below {root} has rows yet: wait, or repeat the command that made them.")
    return pd.concat(runs, ignore_index=True)


def label(data: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `setting` and `method`: the game and the algorithm with all that varies around them.

    Runs that differ in more than their seeds are never pooled: what differs within the data is part of the name, of the
    setting for keys of the game, the reference and the rest, of the method for keys of algorithm, policy and prox.
    """
    data = data.copy()
    runs = data.drop_duplicates("folder").set_index("folder")
    first = list(runs).index("status") + 1
    keys = [str(key) for key in list(runs)[first:] if not str(key).startswith(_BOOKKEEPING)]
    of_method = [key for key in keys if key.startswith(("algorithm.", "policy.", "prox."))]
    of_setting = [key for key in keys if key not in of_method]
    for column, name, varied in (("setting", "game", of_setting), ("method", "algorithm", of_method)):
        data[column] = data["folder"].map(_names(runs, name, varied))
    return data


def _names(runs: pd.DataFrame, name: str, keys: list[str]) -> pd.Series:
    """For every run its `name`, with the values of `keys` that differ between runs of this name."""
    parts = {}
    for title, group in runs.groupby(name):
        varied = [key for key in keys if key == "beta" or group[key].astype(str).nunique() > 1]
        for folder, row in group.iterrows():
            values = [f"{key.removeprefix(f'{name}.')} = {_short(row[key])}" for key in varied]
            parts[folder] = ", ".join([str(title), *values])
    return pd.Series(parts)


def _short(value: object) -> str:
    """A value for a title: numbers with few digits, classes and files by their last name."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).rpartition("/")[2].rpartition(".")[2] if isinstance(value, str) else str(value)


def _load_run(file: Path) -> pd.DataFrame:
    frame = pd.read_csv(file)
    summary = file.with_name("summary.json")
    config = file.parent / ".hydra" / "config.yaml"
    added: dict[str, Any] = {
        "status": json.loads(summary.read_text())["status"] if summary.exists() else "unfinished",
        "folder": str(file.parent),
    }
    if config.exists():
        added |= _flat(yaml.safe_load(config.read_text()))
    added = {name: value for name, value in added.items() if name not in frame.columns}
    return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists as text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value) if isinstance(value, list) else value
    return flat

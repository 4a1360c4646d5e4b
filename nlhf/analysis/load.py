"""A tree of runs as one tidy DataFrame."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nlhf.analysis import cache
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.naming import label
from nlhf.analysis.rows import read_rows
from nlhf.files import read_json
from nlhf.records import ADDED

FILES = ("metrics.csv", "summary.json", ".hydra/config.yaml", ".hydra/overrides.yaml")


@dataclass(frozen=True)
class Study:
    """All that was read below a folder.

    Args:
        root: the folder.
        rows: as `load` returns them.
        runs: a record per run, those without rows too: `folder`, `status`, `rows` (their number), `config` (flat),
            `overrides` and `summary`, the content of summary.json.
    """

    root: Path
    rows: pd.DataFrame
    runs: list[dict[str, Any]]

    @property
    def experiment(self) -> str | None:
        """The preset that all runs were made by, if there is one."""
        found = {next((word.removeprefix("experiment=") for word in run["overrides"] if word.startswith("experiment=")),
                      None) for run in self.runs}  # fmt: skip
        return found.pop() if len(found) == 1 else None


def load(folder: str | PathLike[str]) -> pd.DataFrame:
    """All rows of all runs below a folder, with their config and status.

    Returns: one row per (run, seed, evaluation): the columns of metrics.csv, `status` (`completed`, `failed`,
    `interrupted`, or `unfinished` where there is no summary), `folder`, a column per entry of the run's config, nested
    keys joined by dots (`beta`, `game.actions`, `algorithm.step_size`), and what to call it: `setting` and `method`
    (`label`). Runs that differ in their seeds alone have the same setting and method.

    Raises: AnalysisError where there is no folder or no row in it, where a metrics.csv is none, and where two runs hold
    the same seed of the same setting and method.
    """
    return load_study(folder).rows


def load_study(folder: str | PathLike[str]) -> Study:
    """As `load`, with a record per run; a cache of the rows is kept where there are many runs.

    Raises: AnalysisError.
    """
    root = Path(folder)
    found = list(_run_folders(root))
    if not found:
        raise AnalysisError(f"{root} holds no run (no metrics.csv): give runs/STUDY of a study that was run.")
    rows, runs = cache.through(root, found, FILES, _read_run)
    if rows.empty:
        raise AnalysisError(f"no run below {root} has rows yet: wait, or repeat the command that made them.")
    frame = pd.DataFrame([{"status": run["status"], "folder": run["folder"]} | ADDED | run["config"] for run in runs])
    frame = frame[[name for name in frame.columns if name not in rows.columns]]
    of_run = rows.pop("run_number").to_numpy()
    joined = frame.take(of_run).set_index(rows.index)
    rows = label(pd.concat([rows, joined], axis=1))
    _refuse_duplicates(rows)
    return Study(root, rows, runs)


def export(data: pd.DataFrame, path: Path) -> None:
    """Write the rows as .csv (numbers to the bit) or .parquet (columns of mixed types as text).

    Raises: AnalysisError for another ending.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise AnalysisError(f"--export={path} has no known ending: give FILE.csv or FILE.parquet.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        data.to_csv(path, index=False)
    else:
        mixed = [str(name) for name in data if data[name].dtype == object]
        data.assign(**{name: data[name].map(str, na_action="ignore") for name in mixed}).to_parquet(path, index=False)


def _run_folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        if ".hydra" in folders or "metrics.csv" in files or "summary.json" in files:
            yield Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _read_run(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The rows of a run as an arrow table, and its record."""
    summary = read_json(folder / "summary.json")
    record = {
        "folder": str(folder),
        "status": str((summary or {}).get("status") or "unfinished"),
        "config": _flat(_yaml(folder / ".hydra" / "config.yaml", dict) or {}),
        "overrides": [str(entry) for entry in _yaml(folder / ".hydra" / "overrides.yaml", list) or []],
        "summary": summary or {},
    }
    return read_rows(folder / "metrics.csv"), record


def _yaml(path: Path, kind: type) -> Any:
    """The content of a yaml file; None where there is none, where it is torn or another kind of thing."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, kind) else None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; what is no number, word or null is text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str | int | float | None) else str(value)
    return flat


def _refuse_duplicates(rows: pd.DataFrame) -> None:
    pairs = rows[["setting", "method", "seed", "folder"]].drop_duplicates()
    twice = pairs[pairs.duplicated(["setting", "method", "seed"], keep=False)]
    if not twice.empty:
        first = twice.iloc[0]
        same = (twice["setting"] == first["setting"]) & (twice["method"] == first["method"])
        folders: Sequence[str] = twice.loc[same & (twice["seed"] == first["seed"]), "folder"].tolist()
        raise AnalysisError(
            f"{folders[0]} and {folders[1]} both hold seed {first['seed']} of {first['method']} on "
            f"{first['setting']}: remove one of them, or give a folder that holds only one."
        )

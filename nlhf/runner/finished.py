"""Whether a run has anything left to do, from the files in its folder. No torch import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlhf.budget import Progress, spent
from nlhf.config import ConfigError
from nlhf.io.checksums import damaged
from nlhf.io.json_files import read_json
from nlhf.records import is_input
from nlhf.runner.specification import Specification


def finished(run: Specification) -> dict[str, Any] | None:
    """The summary of this run if nothing is left to do, else None.

    Nothing is left to do if the run was completed with at least this budget and its files are intact, or if it failed
    and retry_failed is false.

    Raises: ConfigError if the folder holds another run or another RESULTS_VERSION, or if a file is damaged that only a
    checkpoint could restore and there is no checkpoint.
    """
    path = run.folder / "summary.json"
    if not path.exists():
        return None
    summary = valid_summary(run)
    if summary is not None and summary["status"] == "failed" and not run.options.retry_failed:
        return summary
    lost = lost_result(run, summary)
    if lost and not (run.folder / "checkpoint.pt").exists():
        raise ConfigError(
            f"{lost} is missing or damaged, and there is no checkpoint to restore it from: repeat the command with "
            "force=true, which moves the folder aside and runs again from the start."
        )
    if lost or summary is None or not reached(run, summary):
        return None
    inputs = {name: record for name, record in summary["files"].items() if is_input(name)}
    return None if damaged(run.folder, inputs) else summary


def valid_summary(run: Specification) -> dict[str, Any] | None:
    """The content of the run's summary.json; None if it is missing or damaged.

    Raises: ConfigError if it is the summary of another run or of another RESULTS_VERSION.
    """
    if (summary := read_json(run.folder / "summary.json")) is None:
        return None
    run.check_same(summary)
    try:
        Progress.from_json(summary["progress"])
        return summary if summary["status"] != "completed" or isinstance(summary["files"], dict) else None
    except (KeyError, TypeError, ValueError):
        return None


def reached(run: Specification, summary: Mapping[str, Any]) -> bool:
    """True if the run was completed with at least this budget."""
    progress = Progress.from_json(summary["progress"])
    return summary["status"] == "completed" and bool(spent(run.budget, progress).all())


def lost_result(run: Specification, summary: Mapping[str, Any] | None) -> Path | None:
    """A damaged file of a completed run that only a checkpoint can restore, or None."""
    if summary is None:
        return run.folder / "summary.json"
    if summary["status"] != "completed":
        return None
    lost = [name for name in damaged(run.folder, summary["files"]) if not is_input(name)]
    return run.folder / lost[0] if lost else None

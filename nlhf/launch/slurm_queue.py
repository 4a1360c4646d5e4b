"""The tasks of a study that were submitted to SLURM, and which of them are still in its queue."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json

FOLDER = ".slurm"  # in a study's folder: one JSON file per submission, and submitit's own files


def submitted(study: Path) -> dict[str, list[str]]:
    """The names of the runs of every submitted task of a study, by the id of the task."""
    contents = (read_json(path) or {} for path in (study / FOLDER).glob("*.json"))
    tables = [content.get("tasks") for content in contents]
    return {task: [str(name) for name in names] for tasks in tables if isinstance(tasks, dict)
            for task, names in tasks.items() if isinstance(names, list)}  # fmt: skip


def queued(study: Path) -> set[str]:
    """The runs of a study whose tasks are in SLURM's queue, waiting or running."""
    tasks = submitted(study)
    return {name for task in in_queue(tasks) for name in tasks[task]}


def not_begun(study: Path) -> dict[str, int]:
    """The number of submitted runs without a folder: pending if their task is in SLURM's queue, else missing."""
    waiting = queued(study)
    names = {name for names in submitted(study).values() for name in names if not (study / name).exists()}
    return {"pending": len(names & waiting), "missing": len(names - waiting)}


def in_queue(tasks: Iterable[str]) -> set[str]:
    """The tasks that are in SLURM's queue; none on a machine without SLURM.

    Raises: ConfigError if the queue cannot be read.
    """
    arrays = sorted({task.partition("_")[0] for task in tasks})
    if not arrays or shutil.which("squeue") is None:
        return set()
    arguments = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(arrays)}"]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # jobs that ended long ago
        raise ConfigError(f"squeue fails ({answer.stderr.strip()}): repeat the command when SLURM answers.")
    return set(answer.stdout.split()) & set(tasks)


def cancel(study: Path) -> set[str]:
    """Cancel the tasks of a study that are in SLURM's queue, and return their ids."""
    if tasks := in_queue(submitted(study)):
        subprocess.run(["scancel", *tasks], check=False)
    return tasks

"""A SLURM cluster, over submitit: many runs in each task of an array; submit, and log out.

What is known about a run comes from its own files: without an accounting database submitit would wait for ever for a
job that was killed. SLURM's queue is asked for one thing alone, which submitted tasks are still there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json, write_json
from nlhf.io.links import make_folder
from nlhf.launch.batch import attempt_all
from nlhf.launch.batch import packs as batches
from nlhf.launch.status import measured_seconds
from nlhf.launch.sweep import Job, note_from_files
from nlhf.messages import command
from nlhf.terminal import say, show_warnings, visible

PLACE = ".slurm"  # in a study's folder: one JSON file per submission, and submitit's own files
UNMEASURED = 20  # runs in a task, where nothing is known about how long they take
POLL = 5.0  # seconds
READS_NONE = ("hydra_plugins.nlhf_study.StudySweeper", "hydra._internal.core_plugins.basic_sweeper.BasicSweeper")
PASSED_ON = ("timeout_min", "cpus_per_task", "mem_gb", "gpus_per_node")
SLURMS_OWN = ("array_parallelism", "partition", "qos", "account", "setup", "signal_delay_s")


@dataclass
class Pack:
    """What one task of an array does: its runs, one batch after the other; when it comes back, those that are left."""

    batches: list[list[tuple[dict[str, Any], tuple[str, ...]]]]

    def __call__(self) -> list[str]:
        """Run them; how each ended. A run that fails leaves its siblings alone."""
        import torch

        show_warnings()
        torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", 1)))
        ended = []
        for batch in self.batches:
            for run in attempt_all(batch):
                say(f"{run.task}  {run.state}  {run.message}")
                ended.append(run.state)
        return ended

    def checkpoint(self) -> Any:
        """Called by submitit before it requeues the task: the same again, as every run goes on from its own files."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launch(jobs: Sequence[Job], sweeper: str, *, wait: bool, **options: Any) -> list[float | None]:
    """Submit jobs; with `wait`, until they are done. Returns log10 of their exploitability, None where it is not known.

    Raises: ConfigError for an option out of range, a sweeper that reads values which are not there, and where there is
    no SLURM.
    """
    _check(options)
    if not wait and sweeper not in READS_NONE:
        raise ConfigError(f"hydra.launcher.wait=false leaves {sweeper.rpartition('.')[2]} without the values that it "
                          "reads: set hydra.launcher.wait=true.")  # fmt: skip
    study, names = jobs[0].run.folder.parent, {job.run.name for job in jobs}
    before = queued(study)
    fresh = [job for job in jobs if job.run.name not in before]
    if fresh:
        submit(fresh, study, options)
    if len(fresh) < len(jobs):
        say(f"{len(jobs) - len(fresh)} runs are in SLURM's queue already")
    if not wait:
        say(f"how they are: {command('nlhf', 'status', study)}")
        return [None] * len(jobs)
    while names & queued(study):
        time.sleep(POLL)
    note_from_files(jobs)
    return [_value(job) for job in jobs]


def submit(jobs: Sequence[Job], study: Path, options: Mapping[str, Any]) -> list[str]:
    """Submit jobs as tasks of arrays, balanced in how long they take; the ids of the tasks."""
    import submitit

    folder = study / PLACE
    make_folder(folder)
    executor = submitit.AutoExecutor(folder / "%A", cluster="slurm", slurm_max_num_timeout=options["max_num_timeout"])
    own = {f"slurm_{key}": options[key] for key in SLURMS_OWN if options[key]}
    executor.update_parameters(**{key: options[key] for key in PASSED_ON}, **own, name=visible(f"nlhf-{study.name}"),
                               slurm_additional_parameters={"requeue": True, **options["additional"]})  # fmt: skip
    packs, ids = list(packed(jobs, study, options)), []
    for start in range(0, len(packs), limit := _largest_array()):
        part = packs[start : start + limit]
        tasks = _array(executor, part)
        ids += [task.job_id for task in tasks]
        content = {task.job_id: [job.run.name for job in pack] for task, pack in zip(tasks, part, strict=True)}
        write_json(folder / f"{tasks[0].job_id}.json", {"submitted": time.time(), "tasks": content})
    arrays = dict.fromkeys(task.partition("_")[0] for task in ids)
    say(f"submitted {len(jobs)} runs in {len(packs)} tasks of SLURM's job {', '.join(arrays)}")
    return ids


def _array(executor: Any, packs: Sequence[Sequence[Job]]) -> list[Any]:
    """One array with a task per pack.

    Raises: ConfigError with sbatch's words where it refuses.
    """
    from submitit.core.utils import FailedJobError

    try:
        with executor.batch():
            return [executor.submit(Pack([[job.task for job in batch] for batch in batches(pack, 1)]))
                    for pack in packs]  # fmt: skip
    except FailedJobError as error:
        words = str(error).strip().rpartition("\n")[2].removeprefix("sbatch: error: ")
        raise ConfigError(f"sbatch refuses ({words}): change hydra.launcher, and repeat the command.") from error


def packed(jobs: Sequence[Job], study: Path, options: Mapping[str, Any]) -> Iterator[list[Job]]:
    """Jobs in packs that take about the same time, the longest run first in each."""
    known = measured_seconds([study])
    kinds = [(job.run.options.names["game"], job.run.options.names["algorithm"]) for job in jobs]
    count = options["runs_per_task"]
    if count is None:
        measured = [known[kind] for kind in kinds if kind in known]
        mean = sum(measured) / len(measured) if measured else None
        count = UNMEASURED if mean is None else max(1, int(60 * options["target_minutes"] / max(mean, 1e-3)))
    packs: list[list[Job]] = [[] for _ in range(-(-len(jobs) // count))]
    for place, job in enumerate(sorted(jobs, key=lambda job: -job.weight)):
        turn, lane = divmod(place, len(packs))
        packs[lane if turn % 2 == 0 else len(packs) - 1 - lane].append(job)
    yield from packs


def submitted(study: Path) -> dict[str, list[str]]:
    """The names of the runs of every task that was submitted for a study, by its id."""
    contents = (read_json(path) or {} for path in (study / PLACE).glob("*.json"))
    tables = [content.get("tasks") for content in contents]
    return {task: [str(name) for name in names] for tasks in tables if isinstance(tasks, dict)
            for task, names in tasks.items() if isinstance(names, list)}  # fmt: skip


def queued(study: Path) -> set[str]:
    """The runs of a study whose tasks SLURM still has, waiting or running."""
    tasks = submitted(study)
    return {name for task in in_queue(tasks) for name in tasks[task]}


def not_begun(study: Path) -> dict[str, int]:
    """How many submitted runs have no folder yet: pending where SLURM still has their task, else missing."""
    waiting = queued(study)
    names = {name for names in submitted(study).values() for name in names if not (study / name).exists()}
    return {"pending": len(names & waiting), "missing": len(names - waiting)}


def in_queue(tasks: Iterable[str]) -> set[str]:
    """Which of these tasks SLURM's queue still has; none where there is no SLURM.

    Raises: ConfigError where the queue cannot be read.
    """
    arrays = sorted({task.partition("_")[0] for task in tasks})
    if not arrays or shutil.which("squeue") is None:
        return set()
    arguments = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(arrays)}"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode and "Invalid job id" not in done.stderr:  # that is the word for jobs long gone
        raise ConfigError(f"squeue fails ({done.stderr.strip()}): repeat the command when SLURM answers.")
    return set(done.stdout.split()) & set(tasks)


def cancel(study: Path) -> set[str]:
    """Cancel what SLURM still has of a study; the ids of its tasks."""
    if tasks := in_queue(submitted(study)):
        subprocess.run(["scancel", *tasks], check=False)
    return tasks


def _check(options: Mapping[str, Any]) -> None:
    least: dict[str, float] = {"runs_per_task": 1, "target_minutes": 0.1, "timeout_min": 10, "max_num_timeout": 0,
                               "signal_delay_s": 1, "array_parallelism": 1, "cpus_per_task": 1, "mem_gb": 0.1,
                               "gpus_per_node": 0}  # fmt: skip
    for key, smallest in least.items():
        value, numbers = options[key], (int, float) if key in ("target_minutes", "mem_gb") else (int,)
        if value is None and key == "runs_per_task":
            continue
        if type(value) not in numbers or value < smallest:
            words = "number" if float in numbers else "whole number"
            raise ConfigError(f"hydra.launcher.{key}={value} is out of range: give a {words} >= {smallest:g}.")
    for key, kind in (("setup", list), ("additional", dict)):
        if not isinstance(options[key], kind):
            raise ConfigError(f"hydra.launcher.{key}={options[key]} is no {kind.__name__}: see conf/hydra/launcher.")
    if shutil.which("sbatch") is None:
        raise ConfigError("hydra/launcher=slurm finds no sbatch on the path: run it on a login node of the cluster, or "
                          "choose hydra/launcher=pool.")  # fmt: skip
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError('hydra/launcher=slurm needs submitit: pip install -e ".[slurm]".') from error


def _largest_array() -> int:
    """How many tasks an array may have here: MaxArraySize of the cluster, which is one more than the largest index."""
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    sizes = [line.partition("=")[2] for line in done.stdout.splitlines() if line.startswith("MaxArraySize")]
    return max(1, int(sizes[0]) - 1) if sizes else 1000


def _value(job: Job) -> float | None:
    from nlhf.runner.outcome import Outcome

    summary = read_json(job.run.folder / "summary.json") if job.status() == "completed" else None
    return Outcome(job.run.folder, summary, job.run.budget).log10_exploitability if summary else None

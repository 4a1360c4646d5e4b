"""A SLURM cluster, through submitit: many runs in each task of an array; submit, and log out.

Results of runs come from their own files: without an accounting database submitit would wait forever for a killed job.
SLURM's queue only tells which submitted tasks still exist.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json, write_json
from nlhf.io.links import make_folder
from nlhf.launch.batch import attempt_all, batches
from nlhf.launch.job import Job
from nlhf.launch.ranks import attempt_on_ranks
from nlhf.launch.slurm_options import check
from nlhf.launch.slurm_queue import FOLDER, queued
from nlhf.launch.status import measured_seconds
from nlhf.launch.sweep import SweepRecord
from nlhf.messages import command
from nlhf.numerics.threads import set_threads
from nlhf.runner.outcome import Outcome
from nlhf.terminal import say, show_warnings, visible

UNMEASURED = 20  # runs in a task if no similar run was measured
POLL = 5.0  # seconds
READ_NO_VALUES = ("StudySweeper", "BasicSweeper")  # sweepers that ignore the values of runs
SUBMITIT_OPTIONS = ("timeout_min", "cpus_per_task", "mem_gb", "gpus_per_node")
SLURM_OPTIONS = ("array_parallelism", "partition", "qos", "account", "setup", "signal_delay_s")


@dataclass
class ArrayTask:
    """One task of an array: it runs its batches one after the other; a requeued task runs what is unfinished.

    Args:
        batches: configs and overrides of runs.
        processes: of each run; with several, runs are not computed as one batch.
    """

    batches: list[list[tuple[dict[str, Any], tuple[str, ...]]]]
    processes: int = 1

    def __call__(self) -> list[str]:
        """Run the batches and return how each run ended. A failing run does not stop the others."""
        show_warnings()
        set_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", 1)))
        states = []
        for batch in self.batches:
            alone = self.processes == 1
            for ended in attempt_all(batch) if alone else (attempt_on_ranks(*job, self.processes) for job in batch):
                say(f"{ended.task}  {ended.state}  {ended.message}")
                states.append(ended.state)
        return states

    def checkpoint(self) -> Any:
        """Called by submitit before it requeues the task: submit the same task, as runs go on from their own files."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launch(jobs: Sequence[Job], record: SweepRecord, sweeper: str, *, wait: bool, **options: Any) -> list[float | None]:
    """Submit jobs, and with `wait` wait until they are done; log10 of their exploitability, None if it is unknown.

    Raises: ConfigError for an option out of range, for a sweeper that needs the values of runs without `wait`, and on
    a machine without SLURM.
    """
    check(options)
    name = sweeper.rpartition(".")[2]
    if not wait and name not in READ_NO_VALUES:
        raise ConfigError(
            f"hydra.launcher.wait=false leaves {name} without the values that it reads: set hydra.launcher.wait=true."
        )
    study, names = jobs[0].run.folder.parent, {job.run.name for job in jobs}
    before = queued(study)
    new = [job for job in jobs if job.run.name not in before]
    if new:
        submit(new, study, options)
    if len(new) < len(jobs):
        say(f"{len(jobs) - len(new)} runs are in SLURM's queue already")
    if not wait:
        say(f"how they are: {command('nlhf', 'status', study)}")
        return [None] * len(jobs)
    while names & queued(study):
        time.sleep(POLL)
    record.note_from_files(jobs)
    return [_value(job) for job in jobs]


def submit(jobs: Sequence[Job], study: Path, options: Mapping[str, Any]) -> list[str]:
    """Submit jobs as tasks of arrays, with about equal durations, and return the ids of the tasks."""
    import submitit

    folder = study / FOLDER
    make_folder(folder)
    executor = submitit.AutoExecutor(folder / "%A", cluster="slurm", slurm_max_num_timeout=options["max_num_timeout"])
    executor.update_parameters(
        **{key: options[key] for key in SUBMITIT_OPTIONS},
        **{f"slurm_{key}": options[key] for key in SLURM_OPTIONS if options[key]},
        name=visible(f"nlhf-{study.name}"),
        slurm_additional_parameters={"requeue": True, **options["additional"]},
    )
    shares, ids = list(balanced(jobs, study, options)), []
    for start in range(0, len(shares), limit := _largest_array()):
        part = shares[start : start + limit]
        tasks = _array(executor, part, options["processes"])
        ids += [task.job_id for task in tasks]
        content = {task.job_id: [job.run.name for job in share] for task, share in zip(tasks, part, strict=True)}
        write_json(folder / f"{tasks[0].job_id}.json", {"submitted": time.time(), "tasks": content})
    arrays = dict.fromkeys(task.partition("_")[0] for task in ids)
    say(f"submitted {len(jobs)} runs in {len(shares)} tasks of SLURM's job {', '.join(arrays)}")
    return ids


def _array(executor: Any, shares: Sequence[Sequence[Job]], processes: int) -> list[Any]:
    """Submit one array with a task for each share of the jobs.

    Raises: ConfigError with the message of sbatch if it refuses.
    """
    from submitit.core.utils import FailedJobError

    try:
        with executor.batch():
            return [
                executor.submit(ArrayTask([[job.task for job in batch] for batch in batches(share, 1)], processes))
                for share in shares
            ]
    except FailedJobError as error:
        reason = str(error).strip().rpartition("\n")[2].removeprefix("sbatch: error: ")
        raise ConfigError(f"sbatch refuses ({reason}): change hydra.launcher, and repeat the command.") from error


def balanced(jobs: Sequence[Job], study: Path, options: Mapping[str, Any]) -> Iterator[list[Job]]:
    """Divide jobs into shares that take about the same time, the longest run first in each."""
    seconds = measured_seconds([study])
    kinds = [(job.run.options.names["game"], job.run.options.names["algorithm"]) for job in jobs]
    count = options["runs_per_task"]
    if count is None:
        measured = [seconds[kind] for kind in kinds if kind in seconds]
        mean = sum(measured) / len(measured) if measured else None
        count = UNMEASURED if mean is None else max(1, int(60 * options["target_minutes"] / max(mean, 1e-3)))
    shares: list[list[Job]] = [[] for _ in range(-(-len(jobs) // count))]
    for rank, job in enumerate(sorted(jobs, key=lambda job: -job.weight)):
        turn, lane = divmod(rank, len(shares))
        shares[lane if turn % 2 == 0 else len(shares) - 1 - lane].append(job)
    yield from shares


def _largest_array() -> int:
    """The largest number of tasks of an array: MaxArraySize of the cluster minus one, as it bounds the index."""
    answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    sizes = [line.partition("=")[2] for line in answer.stdout.splitlines() if line.startswith("MaxArraySize")]
    return max(1, int(sizes[0]) - 1) if sizes else 1000


def _value(job: Job) -> float | None:
    summary = read_json(job.run.folder / "summary.json") if job.status() == "completed" else None
    return Outcome(job.run.folder, summary, job.run.budget).log10_exploitability if summary else None

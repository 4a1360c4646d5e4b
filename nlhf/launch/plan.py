"""The plan of a sweep: which of its jobs have something left to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nlhf.budget import Budget
from nlhf.config import ConfigError
from nlhf.io.files import writing
from nlhf.launch.compose import NotComposedError
from nlhf.launch.job import Compose, Job
from nlhf.launch.memory_plan import memory_lines
from nlhf.launch.status import measured_seconds
from nlhf.launch.sweep import SweepRecord, errors_as_sentences
from nlhf.runner.finished import finished
from nlhf.runner.outcome import Outcome
from nlhf.terminal import say


def jobs_to_run(
    batch: Iterable[Sequence[str]], compose: Compose, record: SweepRecord, begin: Callable[[], None] = lambda: None
) -> list[Job]:
    """The jobs of a sweep with something left to do, each once; completed and refused jobs are recorded.

    Args:
        batch: the overrides of every job.
        compose: composes their configs.
        begin: called at the first job that has something left to do.

    Raises: ConfigError if no job can be composed, for example if the sweep varies a misspelt key.
    """
    jobs: dict[tuple[str, Budget], Job] = {}
    candidates = [(overrides, _job(overrides, compose)) for overrides in batch]
    errors = [job for _, job in candidates if isinstance(job, NotComposedError)]
    if errors and len(errors) == len(candidates):
        raise errors[0]
    for overrides, job in candidates:
        if isinstance(job, ConfigError):
            record.refuse(overrides, job)
        elif _is_unfinished(job, record):
            if not jobs:
                begin()
            jobs.setdefault((str(job.run.folder), job.run.budget), job)
    record.planned.update({job.overrides: job for job in jobs.values()})
    return list(jobs.values())


def _job(overrides: Sequence[str], compose: Compose) -> Job | ConfigError:
    try:
        return Job.of(overrides, compose)
    except ConfigError as error:
        return error


def _is_unfinished(job: Job, record: SweepRecord) -> bool:
    """True if a job has something left to do; any other job is recorded."""
    try:
        summary = None if job.run.options.force else finished(job.run)
    except ConfigError as error:
        record.refuse(job.overrides, error)
        return False
    if summary is None:
        return True
    outcome = Outcome(job.run.folder, summary, job.run.budget, skipped=True)
    ended = outcome.ended("skipped" if outcome.status == "completed" else "failed before")
    if outcome.larger_budget:
        say(f"{ended.task}  {ended.state}  {ended.message}")
    message = ended.message if ended.state != "skipped" else ""
    record.note(ended.task, ended.state, message, job.budget, job.run.folder.parent)
    return False


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the folders of the jobs' studies, or end the program with a sentence."""
    with errors_as_sentences():
        for study in {job.run.folder.parent for job in jobs}:
            with writing(study):
                study.mkdir(parents=True, exist_ok=True)


def show_plan(jobs: Sequence[Job], record: SweepRecord, launcher: Mapping[str, Any]) -> None:
    """Print the output of a dry run: the state of every run, the time that similar runs took, and memory of GPUs.

    Args:
        launcher: the options of Hydra's launcher.
    """
    for (task, _), (state, _) in record.tasks.items():
        say(f"{task}  {'completed' if state == 'skipped' else state}")
    studies = {folder for runs in {job.run.options.runs_dir for job in jobs} for folder in Path(runs).glob("*")}
    seconds = measured_seconds(studies | {job.run.folder.parent for job in jobs})
    names = [job.run.options.names for job in jobs]
    costs = [seconds.get((name["game"], name["algorithm"])) for name in names]
    for job, cost in zip(jobs, costs, strict=True):
        estimate = "" if cost is None else f"about {cost:.1f} s"
        say(f"{job.run.name}  {_planned_state(job):<12} {estimate:<14} {' '.join(job.overrides)}")
        record.note(job.run.name, "would run", budget=job.budget)
    measured = [cost for cost in costs if cost is not None]
    total = f": about {sum(measured):.0f} s of one process" if measured else ""
    unmeasured = len(jobs) - len(measured)
    note = f"; no run of the kind was measured for {unmeasured}" if unmeasured else ""
    say(f"{len(jobs)} runs to do{total}{note}")
    processes = launcher.get("processes") or int(os.environ.get("WORLD_SIZE", 1))
    for line in memory_lines(jobs, processes, launcher.get("gpu_gb")):
        say(line)


def _planned_state(job: Job) -> str:
    """The state of a job's run in a dry run."""
    if not job.run.folder.exists():
        return "new"
    return "run anew" if job.run.options.force else job.status()

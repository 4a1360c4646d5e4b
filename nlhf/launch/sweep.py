"""The record of a sweep: how its jobs ended, the final table, and the exit code.

Hydra makes one `SweepTable` per command and gives it to the sweeper and the launcher in its context. Its record passes
between them: planned jobs, states, and the folders that force=true has moved aside.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import HydraContext
from omegaconf import DictConfig

from nlhf.config import ConfigError
from nlhf.garbage import collect_again
from nlhf.io.files import WriteError
from nlhf.io.json_files import read_json
from nlhf.launch.job import Compose, Job
from nlhf.messages import command
from nlhf.runner.backup import move_aside
from nlhf.runner.console import result
from nlhf.runner.lock import BusyError
from nlhf.runner.run_one import COMMAND_ERRORS
from nlhf.runner.specification import specify
from nlhf.terminal import say, warn

GOOD = ("completed", "skipped", "submitted", "would run")


class SweepRecord:
    """How the jobs of one sweep ended. Results of runs come from their own files, whichever process ran them."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, str], tuple[str, str]] = {}  # state and message by task and budget
        self.planned: dict[tuple[str, ...], Job] = {}  # by overrides
        self.studies: dict[Path, None] = {}  # folders of the tasks' runs
        self.moved: set[Path] = set()  # folders that force=true has moved aside

    def note(self, task: str, state: str, message: str = "", budget: str = "", study: Path | None = None) -> None:
        """Record how a task ended.

        Args:
            task: the name of its run, or its overrides if there is no run.
            state: a state of `Ended`, or submitted, unfinished, would run.
            message: its result, or why it failed.
            budget: the budget of the run.
            study: the folder of its study; None if there is no run.
        """
        self.tasks[task, budget] = state, message
        if study is not None:
            self.studies[study] = None

    def note_from_files(self, jobs: Iterable[Job], submitted: bool = False) -> None:
        """Record how jobs ended that ran in other processes."""
        for job in jobs:
            if (job.run.name, job.budget) not in self.tasks and (" ".join(job.overrides), "") not in self.tasks:
                failed = (state := job.status()) == "failed"
                message = result(read_json(job.run.folder / "summary.json") or {}) if failed else ""
                state = "submitted" if submitted else state
                self.note(job.run.name, state, message, job.budget, job.run.folder.parent)

    def refuse(self, overrides: Sequence[str], error: Exception) -> None:
        """Print and record why a job cannot run."""
        warn(f"error: {error}")
        self.note(" ".join(overrides), "refused", str(error))

    def job(self, overrides: Sequence[str], compose: Compose) -> Job | None:
        """The job of these overrides, as the sweeper planned it if it did; None for a job that is refused."""
        if (planned := self.planned.pop(tuple(overrides), None)) is not None:
            return planned
        try:
            return Job.of(overrides, compose)
        except ConfigError as error:
            self.refuse(overrides, error)
            return None

    def without_force(self, job: Job) -> Job | None:
        """The job without force, after its folder was moved aside, once per sweep; None if that is refused.

        Launchers do this before any worker starts: a job that is repeated after its worker died must keep its rows.
        """
        if not job.run.options.force or job.run.options.dry_run:
            return job
        folder = job.run.folder.absolute()
        try:
            if folder not in self.moved:
                move_aside(folder)
        except (ConfigError, BusyError) as error:
            self.refuse(job.overrides, error)
            return None
        self.moved.add(folder)
        return Job(job.overrides, job.config | {"force": False}, job.run.unforced)

    def forced_once(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of a job that this process runs itself, without force if the sweep has used its folder before."""
        if config.get("force") is not True:
            return config
        folder = specify(config).folder.absolute()
        if folder in self.moved:
            return config | {"force": False}
        self.moved.add(folder)
        return config

    def show(self) -> bool:
        """Print the counts and the tasks that did not end well; returns True if there are any."""
        counts = Counter(state for state, _ in self.tasks.values())
        say(", ".join(f"{count} {state}" for state, count in counts.items()))
        budgets = Counter(task for task, _ in self.tasks)
        bad = [
            (state, f"{task} {budget}" if budgets[task] > 1 else task, message)
            for (task, budget), (state, message) in self.tasks.items()
            if state not in GOOD
        ]
        for state, task, message in bad:
            say(f"  {state}: {task}  {message}".rstrip())
        self.tasks.clear()
        return bool(bad)


# Hydra gives a task nothing but its config, so the callback hands the record of the sweep to the task here.
_record: ContextVar[SweepRecord | None] = ContextVar("record of the sweep", default=None)


class SweepTable(Callback):
    """Hydra's callback: prints the table at the end of a sweep; exit code 1 if a task did not end well."""

    def __init__(self) -> None:
        self.record = SweepRecord()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy in another process starts with an empty record."""
        return SweepTable, ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        collect_again()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        _record.set(self.record)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.record.tasks:
            return
        bad = self.record.show()
        for study in () if config.dry_run else self.record.studies:
            say(f"compare them: {command('nlhf', 'compare', study)}")
        if bad:
            sys.exit(1)


def record_of(context: HydraContext) -> SweepRecord:
    """The record of the sweep that a sweeper or launcher takes part in."""
    tables = (callback for callback in context.callbacks.callbacks if isinstance(callback, SweepTable))
    return next((table.record for table in tables), SweepRecord())


def record_of_task() -> SweepRecord:
    """The record of the sweep that the running task belongs to."""
    return _record.get() or SweepRecord()


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with one sentence for bad input (code 2) and for a file that cannot be written (code 1)."""
    try:
        yield
    except COMMAND_ERRORS as error:
        warn(f"error: {error}")
        sys.exit(1 if isinstance(error, WriteError) else 2)

"""What a multirun makes of its jobs: which are done, what became of the rest, the final table and the exit code.

What is known about a run comes from its own files, whoever ran it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from nlhf.budget import Budget
from nlhf.config import ConfigError
from nlhf.io.files import WriteError, writing
from nlhf.io.json_files import read_json
from nlhf.launch.compose import NotComposedError
from nlhf.launch.status import measured_seconds
from nlhf.messages import command
from nlhf.runner.backup import move_aside
from nlhf.runner.console import result
from nlhf.runner.finished import finished
from nlhf.runner.lock import BusyError
from nlhf.runner.outcome import Outcome
from nlhf.runner.run_one import COMMAND_ERRORS
from nlhf.runner.specification import Specification, specify
from nlhf.runner.within_budget import limits
from nlhf.terminal import say, warn

_tasks: dict[tuple[str, str], tuple[str, str]] = {}  # state and words by task and budget
_jobs: dict[tuple[str, ...], Job] = {}
_studies: dict[Path, None] = {}  # folders of the tasks' runs
_moved: set[Path] = set()  # folders that force=true has moved aside
WELL = ("completed", "skipped", "submitted", "would run")


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        overrides: as Hydra's launchers take them.
        config: resolved, as `run_one` takes it.
        run: what it means.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    run: Specification

    @property
    def task(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What `attempt` takes."""
        return self.config, self.overrides

    @property
    def entries(self) -> float:
        """Of the matrices of all seeds, as far as the config tells."""
        game = self.config["game"]
        size = float(game.get("contexts") or 1) * float(game.get("actions") or 10) ** 2
        return len(self.run.options.seeds) * size

    @property
    def weight(self) -> float:
        """How long it may take, in no unit: queries of all seeds, each of the size of the game."""
        budget = self.run.budget
        return (budget.queries or budget.iterations or 1000) * (1000 * len(self.run.options.seeds) + self.entries)

    @property
    def budget(self) -> str:
        """Its budget as the command line writes it."""
        return limits(asdict(self.run.budget))

    def status(self) -> str:
        """What its folder says: completed, failed, interrupted, or unfinished."""
        status = str((read_json(self.run.folder / "summary.json") or {}).get("status"))
        if status == "completed" and finished(self.run) is not None:
            return status
        return status if status in ("failed", "interrupted") else "unfinished"


def check_values(override: Override) -> None:
    """Refuse an override that gives no list of values to run.

    Raises: ConfigError.
    """
    if not override.is_sweep_override():
        return
    key, text = override.get_key_element(), override.input_line
    if not override.is_discrete_sweep():
        raise ConfigError(f"{text} gives no values to run one by one: list them as {key}=A,B, or let a search choose "
                          "them with hydra/sweeper=optuna.")  # fmt: skip
    if not any(True for _ in override.sweep_string_iterator()):
        raise ConfigError(f"{text} matches nothing, and no run is left: list the values as {key}=A,B.")


def note(task: str, state: str, words: str = "", budget: str = "", study: Path | None = None) -> None:
    """Remember what became of a task, in the words of `Ended`, or submitted, unfinished, would run.

    Args:
        task: the name of its run, or its overrides where there is no run.
        state: how it ended.
        words: its result, or why it failed.
        budget: of the run.
        study: the folder of its study, None where there is no run.
    """
    _tasks[task, budget] = state, words
    if study is not None:
        _studies[study] = None


def note_from_files(jobs: Iterable[Job], submitted: bool = False) -> None:
    """Note what became of jobs that ran elsewhere."""
    for job in jobs:
        if (job.run.name, job.budget) not in _tasks and (" ".join(job.overrides), "") not in _tasks:
            failed = (state := job.status()) == "failed"
            words = result(read_json(job.run.folder / "summary.json") or {}) if failed else ""
            note(job.run.name, "submitted" if submitted else state, words, job.budget, job.run.folder.parent)


def refuse(overrides: Sequence[str], error: Exception) -> None:
    """Print and note why a job cannot run."""
    warn(f"error: {error}")
    note(" ".join(overrides), "refused", str(error))


def job_of(overrides: Sequence[str], compose: Callable[[Sequence[str]], dict[str, Any]]) -> Job | None:
    """The job that these overrides mean, as `jobs_to_run` found it if it did; one that cannot be is noted, and None."""
    if (known := _jobs.pop(tuple(overrides), None)) is not None:
        return known
    job = _job(overrides, compose)
    if isinstance(job, Job):
        return job
    refuse(overrides, job)
    return None


def _job(overrides: Sequence[str], compose: Callable[[Sequence[str]], dict[str, Any]]) -> Job | ConfigError:
    """The job that these overrides mean, or why there is none."""
    try:
        config = compose(overrides)
        return Job(tuple(overrides), config, specify(config))
    except ConfigError as error:
        return error


def jobs_to_run(
    batch: Iterable[Sequence[str]],
    compose: Callable[[Sequence[str]], dict[str, Any]],
    begin: Callable[[], None] = lambda: None,
) -> list[Job]:
    """The jobs of a sweep that are not done, each once. Notes the jobs that are done and those that cannot run.

    Args:
        batch: overrides of every job.
        compose: gives their configs.
        begin: called as soon as there is something to run.

    Raises: ConfigError if no job can be composed, as where the sweep varies a key that is misspelt.
    """
    jobs: dict[tuple[str, Budget], Job] = {}
    candidates = [(overrides, _job(overrides, compose)) for overrides in batch]
    if candidates and all(isinstance(job, NotComposedError) for _, job in candidates):
        raise next(job for _, job in candidates if isinstance(job, NotComposedError))
    for overrides, job in candidates:
        if isinstance(job, ConfigError):
            refuse(overrides, job)
            continue
        try:
            done = None if job.run.options.force else finished(job.run)
        except ConfigError as error:
            refuse(job.overrides, error)
            continue
        if done is None:
            if not jobs:
                begin()
            jobs.setdefault((str(job.run.folder), job.run.budget), job)
            continue
        outcome = Outcome(job.run.folder, done, job.run.budget, skipped=True)
        ended = outcome.ended("skipped" if outcome.status == "completed" else "failed before")
        if outcome.larger_budget:
            say(f"{ended.task}  {ended.state}  {ended.message}")
        words = ended.message if ended.state != "skipped" else ""
        note(ended.task, ended.state, words, job.budget, job.run.folder.parent)
    _jobs.update({job.overrides: job for job in jobs.values()})  # for the launcher, which gets their overrides
    return list(jobs.values())


def start_anew(jobs: Iterable[Job | None]) -> list[Job | None]:
    """Move the folders of jobs with force=true aside, each once in a sweep; the jobs without force, None if refused.

    A launcher does this before any worker starts: a job that is repeated after its worker died must not lose its rows.
    """
    return [_anew(job) if job and job.run.options.force and not job.run.options.dry_run else job for job in jobs]


def _anew(job: Job) -> Job | None:
    folder = job.run.folder.absolute()
    try:
        if folder not in _moved:
            move_aside(folder)
    except (ConfigError, BusyError) as error:
        refuse(job.overrides, error)
        return None
    _moved.add(folder)
    return Job(job.overrides, job.config | {"force": False}, job.run.unforced)


def forced_once(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a job that this process runs itself, without force if the sweep has run in its folder before."""
    if config.get("force") is not True:
        return config
    folder = specify(config).folder.absolute()
    if folder in _moved:
        return config | {"force": False}
    _moved.add(folder)
    return config


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the studies' folders, or end the program with a sentence."""
    with in_sentences():
        for study in {job.run.folder.parent for job in jobs}:
            with writing(study):
                study.mkdir(parents=True, exist_ok=True)


def show_plan(jobs: Sequence[Job]) -> None:
    """What a dry run shows: which runs are done, which would be run, and what completed runs of their kind took."""
    for (task, _), (state, _) in _tasks.items():
        say(f"{task}  {'completed' if state == 'skipped' else state}")
    studies = {folder for place in {job.run.options.runs_dir for job in jobs} for folder in Path(place).glob("*")}
    known = measured_seconds(studies | {job.run.folder.parent for job in jobs})
    names = [job.run.options.names for job in jobs]
    costs = [known.get((name["game"], name["algorithm"])) for name in names]
    for job, cost in zip(jobs, costs, strict=True):
        state = _plan(job)
        told = "" if cost is None else f"about {cost:.1f} s"
        say(f"{job.run.name}  {state:<12} {told:<14} {' '.join(job.overrides)}")
        note(job.run.name, "would run", budget=job.budget)
    measured = [cost for cost in costs if cost is not None]
    guess = f": about {sum(measured):.0f} s of one process" if measured else ""
    rest = f"; no run of the kind was measured for {len(jobs) - len(measured)}" if len(measured) < len(jobs) else ""
    say(f"{len(jobs)} runs to do{guess}{rest}")


def _plan(job: Job) -> str:
    """The state of a job's run in a dry run."""
    if not job.run.folder.exists():
        return "new"
    return "run anew" if job.run.options.force else job.status()


def show_table() -> bool:
    """Print the counts and the tasks that did not end well; is there one?"""
    say(", ".join(f"{count} {state}" for state, count in Counter(state for state, _ in _tasks.values()).items()))
    budgets = Counter(task for task, _ in _tasks)
    bad = [(state, f"{task} {budget}" if budgets[task] > 1 else task, words)
           for (task, budget), (state, words) in _tasks.items() if state not in WELL]  # fmt: skip
    for state, task, words in bad:
        say(f"  {state}: {task}  {words}".rstrip())
    _tasks.clear()
    return bool(bad)


class SweepTable(Callback):
    """Hydra's callback: the table at the end of a sweep, and exit code 1 if a task did not end well."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        _moved.clear()
        studies = list(_studies)
        _studies.clear()
        if not _tasks:
            return
        bad = show_table()
        for study in () if config.dry_run else studies:
            say(f"compare them: {command('nlhf', 'compare', study)}")
        if bad:
            sys.exit(1)


@contextmanager
def in_sentences() -> Iterator[None]:
    """End the program with the sentence of what was refused (code 2) or cannot be written (code 1)."""
    try:
        yield
    except COMMAND_ERRORS as error:
        warn(f"error: {error}")
        sys.exit(1 if isinstance(error, WriteError) else 2)

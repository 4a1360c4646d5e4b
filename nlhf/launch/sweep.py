"""What a multirun makes of its jobs: which are done, what became of the rest, the final table and the exit code.

What is known about a run comes from its own files, whoever ran it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from nlhf.config import ConfigError
from nlhf.launch.run import finished
from nlhf.records import read_json
from nlhf.specification import Specification, specify

_tasks: dict[str, str] = {}
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
    def weight(self) -> float:
        """How long it may take, in no unit: queries of all seeds, each of the size of the game."""
        game, budget = self.config["game"], self.run.budget
        size = float(game.get("contexts") or 1) * float(game.get("actions") or 10) ** 2
        return (budget.queries or budget.iterations or 1000) * len(self.run.options.seeds) * (1000 + size)

    def status(self) -> str:
        """What its folder says: completed, failed, interrupted, or unfinished where there is no summary."""
        return str((read_json(self.run.folder / "summary.json") or {}).get("status", "unfinished"))


def note(task: str, state: str) -> None:
    """Remember what became of a task: completed, skipped, failed, interrupted, refused, submitted."""
    _tasks[task] = state


def jobs_to_run(batch: Iterable[Sequence[str]], compose: Callable[[Sequence[str]], dict[str, Any]]) -> list[Job]:
    """The jobs of a sweep that are not done, each run once; those that are, and those that cannot be, are noted."""
    jobs: dict[Path, Job] = {}
    for overrides in batch:
        try:
            config = compose(overrides)
            job = Job(tuple(overrides), config, specify(config))
            done = finished(job.run)
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            note(" ".join(overrides), "refused")
            continue
        if done is None:
            jobs.setdefault(job.run.folder, job)
        else:
            note(job.run.name, "skipped" if done["status"] == "completed" else "failed before")
    return list(jobs.values())


def show_plan(jobs: Sequence[Job]) -> None:
    """What a dry run shows: every run that would be done, whether it was begun, and what runs of its kind took."""
    from nlhf.launch.status import measured_seconds

    roots = {job.run.folder.parent for job in jobs}
    known = measured_seconds(roots)
    total, unknown = 0.0, 0
    for job in jobs:
        seconds = known.get((job.run.options.names["game"], job.run.options.names["algorithm"]))
        state = "new" if not (job.run.folder / "lock").exists() and not job.run.folder.exists() else job.status()
        cost = "" if seconds is None else f"about {seconds:.1f} s"
        print(f"{job.run.name}  {state:<12} {cost:<14} {' '.join(job.overrides)}")
        total, unknown = total + (seconds or 0), unknown + (seconds is None)
        note(job.run.name, "would run")
    guess = f"about {total:.0f} s of one process" if unknown < len(jobs) else "no run of the same kind was measured yet"
    rest = f", and {unknown} of kinds not measured yet" if 0 < unknown < len(jobs) else ""
    print(f"{len(jobs)} runs to do: {guess}{rest}")


class SweepTable(Callback):
    """Hydra's callback: prints the counts and the tasks that did not end well; exit code 1 if there is one."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if not _tasks:
            return
        print(", ".join(f"{count} {state}" for state, count in Counter(_tasks.values()).items()))
        bad = {task: state for task, state in _tasks.items() if state not in WELL}
        for task, state in bad.items():
            print(f"  {state}: {task}")
        print(f"compare them: python -m nlhf.analysis {config.hydra.sweep.dir}")
        _tasks.clear()
        if bad:
            sys.exit(1)

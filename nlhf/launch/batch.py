"""Runs that differ in numbers only, computed as one batch; each run leaves the same folder as when it runs alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nlhf.budget import stop_reason
from nlhf.launch.job import Job
from nlhf.runner.finished import finished
from nlhf.runner.outcome import Ended, Outcome
from nlhf.runner.run_one import attempt
from nlhf.runner.session import opened
from nlhf.runner.specification import Specification, specify
from nlhf.runner.stop import stop_on_signal

if TYPE_CHECKING:
    from nlhf.runner.batch import Share
    from nlhf.runner.folder import RunFolder

log = logging.getLogger("nlhf")
ENTRIES = 25_000_000  # limit of the entries of a batch's matrices
Task = tuple[Mapping[str, Any], Sequence[str]]  # a config and its overrides


class NoBatchError(Exception):
    """These runs cannot form a batch: they run one by one."""


def batches(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """Jobs in batches, at least `count` if there are as many jobs; a job that fits no batch forms its own."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.run.batch_key or id(job), []).append(job)
    result: list[list[Job]] = []
    for group in groups.values():
        largest = max(1, int(ENTRIES / max(job.entries for job in group)))
        size = min(largest, -(-len(group) // max(1, count // len(groups))))
        result += [group[start : start + size] for start in range(0, len(group), size)]
    return result


def attempt_all(tasks: Sequence[Task]) -> list[Ended]:
    """`attempt` for every task, as one batch if possible; after any error, one by one."""
    if len(tasks) > 1:
        try:
            return _as_batch(tasks)
        except Exception as problem:
            log.info("%d runs are computed one by one: %s: %s", len(tasks), type(problem).__name__, problem)
    return [attempt(config, overrides) for config, overrides in tasks]


def _as_batch(tasks: Sequence[Task]) -> list[Ended]:
    """Run tasks as one batch.

    Raises: any Exception; the runs' folders then hold at least what single runs would have kept.
    """
    from nlhf.runner.assemble import assemble_table
    from nlhf.runner.batch import Folders, joined, merged, shape_of
    from nlhf.runner.folder import RunFolder

    runs = [specify(config) for config, _ in tasks]
    worlds = [assemble_table(run) for run in runs]
    if len({shape_of(world) for world in worlds}) > 1 or shape_of(worlds[0]) is None:
        raise NoBatchError
    with contextlib.ExitStack() as stack:
        owners = [stack.enter_context(opened(run)) for run in runs]
        stop = stack.enter_context(stop_on_signal())
        if any(finished(run) or (run.folder / "checkpoint.pt").exists() for run in runs):
            raise NoBatchError
        folders = [RunFolder(run, world, owner.check) for run, world, owner in zip(runs, worlds, owners, strict=True)]
        recorder = Folders(folders)
        algorithm = merged([run.algorithm.bind(world.strength) for run, world in zip(runs, worlds, strict=True)])
        seconds = runs[0].options.checkpoint_seconds
        trainer = joined(worlds).trainer(
            _of_all_seeds(runs), recorder, algorithm, interrupted=stop, checkpoint_seconds=seconds
        )
        overrides = {folder.path: overrides for folder, (_, overrides) in zip(folders, tasks, strict=True)}
        recorder.each(lambda folder, _: folder.begin(overrides[folder.path]))
        completed = trainer.run()
        signal_name = stop.received.name if stop.received else None

        def conclude(folder: RunFolder, share: Share) -> Ended:
            progress, policy = share.progress(trainer.progress), share.of(trainer.state.policy, {})
            status = "completed" if completed else "interrupted"
            reason = stop_reason(folder.run.budget, progress) if completed else signal_name
            summary = folder.conclude(status, reason, policy, progress, len(runs))
            outcome = Outcome(folder.path, summary, folder.run.budget, signal=int(stop.received or 0))
            return outcome.ended(outcome.status)

        return recorder.each(conclude)


def _of_all_seeds(runs: Sequence[Specification]) -> Specification:
    """The specification of a batch: the first run's, with the seeds of all runs."""
    seeds = [seed for run in runs for seed in run.options.seeds]
    return replace(runs[0], options=replace(runs[0].options, seeds=seeds))

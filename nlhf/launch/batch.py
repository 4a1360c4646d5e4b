"""Runs that differ in numbers alone, computed as one batch; each leaves the folder that it leaves alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nlhf.budget import stop_reason
from nlhf.launch.sweep import Job
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
ENTRIES = 25_000_000  # of the matrices of a batch
Task = tuple[Mapping[str, Any], Sequence[str]]  # a config and its overrides


class UnlikeError(Exception):
    """These runs are no batch: they are run one by one."""


def packs(jobs: Sequence[Job], least: int) -> list[list[Job]]:
    """Jobs that can be computed together, in at least so many packs where there are as many jobs; others alone."""
    found: dict[Any, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.run.batch_key or id(job), []).append(job)
    cut: list[list[Job]] = []
    for alike in found.values():
        most = max(1, int(ENTRIES / max(job.entries for job in alike)))
        size = min(most, -(-len(alike) // max(1, least // len(found))))
        cut += [alike[start : start + size] for start in range(0, len(alike), size)]
    return cut


def attempt_all(tasks: Sequence[Task]) -> list[Ended]:
    """`attempt` for every task; those of a batch at once, where nothing goes wrong."""
    if len(tasks) > 1:
        try:
            return _together(tasks)
        except Exception as problem:
            log.info("%d runs are computed one by one: %s: %s", len(tasks), type(problem).__name__, problem)
    return [attempt(config, overrides) for config, overrides in tasks]


def _together(tasks: Sequence[Task]) -> list[Ended]:
    """Raises: any Exception, upon which nothing is lost that a run alone would have kept."""
    from nlhf.runner.assemble import assemble_table
    from nlhf.runner.batch import Folders, joined, merged, shape_of
    from nlhf.runner.folder import RunFolder

    runs = [specify(config) for config, _ in tasks]
    worlds = [assemble_table(run) for run in runs]
    if len({shape_of(world) for world in worlds}) > 1 or shape_of(worlds[0]) is None:
        raise UnlikeError
    with contextlib.ExitStack() as stack:
        owned = [stack.enter_context(opened(run)) for run in runs]
        stop = stack.enter_context(stop_on_signal())
        if any(finished(run) or (run.folder / "checkpoint.pt").exists() for run in runs):
            raise UnlikeError
        folders = [RunFolder(run, world, mine.check) for run, world, mine in zip(runs, worlds, owned, strict=True)]
        recorder = Folders(folders)
        algorithm = merged([run.algorithm.bind(world.beta) for run, world in zip(runs, worlds, strict=True)])
        trainer = joined(worlds).trainer(_whole(runs), recorder, algorithm, interrupted=stop,
                                        checkpoint_seconds=runs[0].options.checkpoint_seconds)  # fmt: skip
        asked = {folder.path: overrides for folder, (_, overrides) in zip(folders, tasks, strict=True)}
        recorder.each(lambda folder, _: folder.begin(asked[folder.path]))
        completed = trainer.run()
        reason = stop.received.name if stop.received else None

        def conclude(folder: RunFolder, share: Share) -> Ended:
            progress, policy = share.progress(trainer.progress), share.of(trainer.state.policy, {})
            told = ("completed", stop_reason(folder.run.budget, progress)) if completed else ("interrupted", reason)
            summary = folder.conclude(*told, policy, progress, len(runs))
            outcome = Outcome(folder.path, summary, folder.run.budget, signal=int(stop.received or 0))
            return outcome.ended(outcome.status)

        return recorder.each(conclude)


def _whole(runs: Sequence[Specification]) -> Specification:
    """The run of all seeds."""
    seeds = [seed for run in runs for seed in run.options.seeds]
    return replace(runs[0], options=replace(runs[0].options, seeds=seeds))

"""`run_one(config)`: the function that every launcher calls, usually through `attempt`.

A run is running, completed, failed or interrupted, according to its folder. Repeating a command runs only what is
missing, and does not import torch if nothing is missing.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlhf.budget import cut_short, stop_reason
from nlhf.config import ConfigError
from nlhf.garbage import collect_again
from nlhf.io.checksums import damaged
from nlhf.io.files import WriteError
from nlhf.io.json_files import read_json
from nlhf.records import is_input
from nlhf.runner.backup import move_aside
from nlhf.runner.finished import finished, lost_result, reached, valid_summary
from nlhf.runner.lock import BusyError, Ownership
from nlhf.runner.outcome import Ended, Outcome
from nlhf.runner.recorder import Tick, no_tick
from nlhf.runner.session import fail, in_a_line, log_failure, opened, record_failure
from nlhf.runner.specification import Specification, specify
from nlhf.runner.stop import StopRequest, stop_on_signal
from nlhf.terminal import warn_lines

if TYPE_CHECKING:
    from nlhf.runner.trainer import Trainer
    from nlhf.runner.world import World

log = logging.getLogger("nlhf")
COMMAND_ERRORS = (ConfigError, BusyError, WriteError)  # errors of the command; a run's folder does not record them

Watch = Callable[[Specification], contextlib.AbstractContextManager[Tick]]


@contextlib.contextmanager
def unwatched(run: Specification) -> Iterator[Tick]:  # noqa: ARG001 (shape of a Watch)
    """A Watch that shows nothing."""
    yield no_tick


def attempt(config: Mapping[str, Any], overrides: Sequence[str]) -> Ended:
    """`run_one` as a task of a sweep: it never raises, so that the other tasks of the sweep go on."""
    task = " ".join(overrides)
    try:
        outcome = run_one(config, overrides=overrides)
    except (ConfigError, BusyError) as problem:
        return Ended(task, "refused", message=str(problem))
    except Exception as problem:
        if not isinstance(problem, WriteError):
            warn_lines(traceback.format_exc().rstrip())
        return Ended(task, "failed", message=in_a_line(problem))
    state = "skipped" if outcome.skipped and outcome.status == "completed" else outcome.status
    return outcome.ended(state)


def run_one(config: Mapping[str, Any], watch: Watch = unwatched, overrides: Sequence[str] = ()) -> Outcome:
    """Run the run that a resolved config describes, or the part of it that is missing.

    Args:
        config: as `nlhf.launch.compose.plain` returns it.
        watch: opens a display of the progress.
        overrides: the overrides of the command line, for the record.

    Raises: ConfigError for bad input, before any work; BusyError if another process works on the run; WriteError if
    the folder cannot be written. A failure of the run itself is recorded and returned.
    """
    run = specify(config)
    if run.options.dry_run:
        raise ConfigError("dry_run=true is for single runs and for hydra/sweeper=study: leave it out.")
    if run.requested > len(run.options.seeds):
        log.warning(
            "nothing in this run is random: one seed runs instead of %d, because copies are not replications",
            run.requested,
        )
    force, run = run.options.force, run.unforced
    if not force and (earlier := finished(run)):
        return Outcome(run.folder, earlier, run.budget, skipped=True)
    try:
        from nlhf.runner.assemble import assemble  # imports torch

        collect_again()
        world = assemble(run)
    except COMMAND_ERRORS:
        raise
    except Exception as problem:
        if force:
            move_aside(run.folder)
        return fail(run, problem)
    if force:
        move_aside(run.folder)
    return _in_folder(run, world, watch, overrides)


def _in_folder(run: Specification, world: World, watch: Watch, overrides: Sequence[str]) -> Outcome:
    """Hold the lock of the run's folder, and repair or train what is missing there."""
    with opened(run) as ownership, stop_on_signal() as stop:
        if earlier := finished(run):
            return Outcome(run.folder, earlier, run.budget, skipped=True)
        if repaired := _repaired(run, world, ownership, overrides):
            return repaired
        try:
            return _train(run, world, ownership, stop, watch, overrides)
        except COMMAND_ERRORS:
            raise
        except Exception as problem:
            return Outcome(run.folder, record_failure(run, problem), run.budget, signal=stop.received or 0)


def _repaired(run: Specification, world: World, ownership: Ownership, overrides: Sequence[str]) -> Outcome | None:
    """Rewrite the damaged files of a completed run that need no training; None if the run needs more than that."""
    from nlhf.runner.folder import RunFolder

    summary = valid_summary(run)
    if summary is None or not reached(run, summary) or not all(map(is_input, damaged(run.folder, summary["files"]))):
        return None
    repaired = RunFolder(run, world, ownership.check).repair(overrides)
    return Outcome(run.folder, repaired, run.budget, skipped=True)


def _train(
    run: Specification,
    world: World,
    ownership: Ownership,
    stop: StopRequest,
    watch: Watch,
    overrides: Sequence[str],
) -> Outcome:
    """Train from the start or the last checkpoint, and record how it ended."""
    from nlhf.runner.folder import RunFolder

    folder = RunFolder(run, world, ownership.check)
    seconds = run.options.checkpoint_seconds
    trainer = world.trainer(run, folder, interrupted=stop, checkpoint_seconds=seconds)
    lost = lost_result(run, valid_summary(run)) if (run.folder / "summary.json").exists() else None
    if checkpoint := folder.resume(trainer.state):
        trainer.restore(checkpoint)
        if lost:
            log.warning("%s was missing or damaged: it is restored from the checkpoint", lost)
        log.info("going on from iteration %d", trainer.progress.iterations.max())
    folder.begin(overrides)
    status, reason = _loop(run, trainer, stop, watch)
    folder.conclude(status, reason, trainer.state.policy, trainer.progress)
    return Outcome(folder.path, read_json(folder.path / "summary.json") or {}, run.budget, signal=stop.received or 0)


def _loop(run: Specification, trainer: Trainer, stop: StopRequest, watch: Watch) -> tuple[str, str | None]:
    """Train until the budget is spent, a signal arrives or an error occurs; returns the status and the reason."""
    try:
        with watch(run) as trainer.tick:
            if not trainer.run():
                return "interrupted", stop.received.name if stop.received else None
            if sentence := cut_short(run.budget, trainer.progress, run.few_iterations):
                log.warning(sentence)
            return "completed", stop_reason(run.budget, trainer.progress)
    except COMMAND_ERRORS:
        raise
    except Exception as problem:  # recorded, so that the other runs of a sweep go on
        return "failed", log_failure(run, problem)

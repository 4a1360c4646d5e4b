"""`run_one(config)`: the one function that every launcher calls.

A run is running, completed, failed or interrupted, as its folder says; repeating a command runs only what is missing,
and imports no torch where nothing is.
"""

from __future__ import annotations

import contextlib
import logging
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.budget import Progress, spent, stop_reason
from nlhf.config import ConfigError
from nlhf.launch.lock import LostError, Ownership, locked
from nlhf.launch.stop import StopRequest, stop_on_signal
from nlhf.records import DivergedError, read_json, write_json
from nlhf.specification import Specification, specify

if TYPE_CHECKING:
    from nlhf.world import World

log = logging.getLogger("nlhf")


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_one` ended.

    Args:
        folder: of the run.
        summary: the content of summary.json.
        skipped: was it completed before?
        signal: the number of the signal that stopped it, or 0.
    """

    folder: Path
    summary: dict[str, Any]
    skipped: bool = False
    signal: int = 0

    @property
    def status(self) -> str:
        """completed, failed or interrupted."""
        return str(self.summary["status"])

    @property
    def log10_exploitability(self) -> float:
        """Of the final policies, mean over seeds; what a hyper-parameter search minimises."""
        value = self.summary["final"].get("exploitability")
        return math.inf if value is None else math.log10(max(value, 1e-300))


class WriteError(RuntimeError):
    """A run's folder cannot be written."""


Watch = Callable[[Specification], contextlib.AbstractContextManager[Callable[[Progress], None]]]


@contextlib.contextmanager
def unwatched(run: Specification) -> Iterator[Callable[[Progress], None]]:  # noqa: ARG001 (shape of a Watch)
    """No progress is shown."""
    yield lambda _: None


def run_one(config: Mapping[str, Any], watch: Watch = unwatched, overrides: Sequence[str] = ()) -> Outcome:
    """Run what a resolved config describes, or what is missing of it.

    Args:
        config: as `nlhf.launch.compose.plain` gives it.
        watch: opens a display of the progress.
        overrides: what was asked for on the command line, for the record.

    Raises: ConfigError for bad input, before any work; BusyError where another process works on the run; WriteError
    where the folder cannot be written. A failure of the run itself is recorded and returned.
    """
    run = specify(config)
    if run.collapsed:
        log.warning("nothing in this run is random: one seed is run instead of %d, as copies are no replications",
                    run.collapsed)  # fmt: skip
    if earlier := finished(run):
        return Outcome(run.folder, earlier, skipped=True)
    try:
        return _run(run, watch, overrides)
    except OSError as problem:
        raise WriteError(
            f"{problem.filename or run.folder} cannot be written ({problem.strerror}): make room or give another "
            f"runs_dir, and repeat the command; what was written before is kept."
        ) from problem


def _run(run: Specification, watch: Watch, overrides: Sequence[str]) -> Outcome:
    """Run under the run's lock; whatever goes wrong there is recorded in its folder."""
    try:
        from nlhf.world import assemble

        world = assemble(run)
    except (ConfigError, OSError):
        raise
    except Exception as problem:
        run.folder.mkdir(parents=True, exist_ok=True)
        with locked(run.folder), _log_file(run.folder / "run.log"):
            return Outcome(run.folder, _record_failure(run, problem))
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder) as owned, _log_file(run.folder / "run.log"), stop_on_signal() as stop:
        if earlier := finished(run):
            return Outcome(run.folder, earlier, skipped=True)
        return _train(run, world, owned, stop, watch, overrides)


def finished(run: Specification) -> dict[str, Any] | None:
    """The summary of this run if there is nothing to do: completed with a budget that was at least this one, or failed
    where failed runs are to be left. Else None.

    Raises: ConfigError where the folder holds another run, or one of another RESULTS_VERSION.
    """
    summary = read_json(run.folder / "summary.json")
    if summary is None:
        return None
    run.check_same(summary)
    if summary["status"] == "failed" and not run.options.retry_failed:
        return summary
    if summary["status"] != "completed" or not spent(run.budget, Progress.from_json(summary["progress"])).all():
        return None
    return summary


def _train(
    run: Specification, world: World, owned: Ownership, stop: StopRequest, watch: Watch, overrides: Sequence[str]
) -> Outcome:
    """Train from the start or the last checkpoint, and record how it ended."""
    from nlhf.folder import RunFolder
    from nlhf.trainer import Trainer
    from nlhf.world import prox_and_policy

    folder = RunFolder(run, world, owned.check)
    prox, policy = prox_and_policy(run, world)
    trainer = Trainer(run.algorithm.bind(world.beta), prox, policy, world.measure, run.budget, folder, stop,
                      checkpoint_seconds=run.options.checkpoint_seconds)  # fmt: skip
    if checkpoint := folder.resume(trainer.state):
        trainer.restore(checkpoint)
        log.info("going on from iteration %d", trainer.progress.iterations.max())
    folder.begin(overrides)
    status, reason = "failed", None
    try:
        with watch(run) as trainer.tick:
            if trainer.run():
                status, reason = "completed", stop_reason(run.budget, trainer.progress)
            else:
                status, reason = "interrupted", stop.received.name if stop.received else None
    except (LostError, OSError):
        raise
    except DivergedError as problem:
        reason = f"{problem}: a smaller algorithm.step_size or a larger beta may help"
        log.error("%s failed: %s", run.name, reason)
    except Exception as problem:  # recorded, so that the siblings of a sweep go on
        reason = _logged(run, problem)
    folder.conclude(status, reason, trainer.state.policy.log_probabilities, trainer.progress)
    return Outcome(folder.path, read_json(folder.path / "summary.json") or {}, signal=stop.received or 0)


def _record_failure(run: Specification, problem: Exception) -> dict[str, Any]:
    """The summary of a run that failed before it had anything to measure; earlier progress is kept."""
    earlier = read_json(run.folder / "summary.json") or {}
    nothing = {"final": {}, "equilibrium": None, "progress": Progress.none(len(run.options.seeds)).to_json()}
    summary = nothing | earlier | {"status": "failed", "stop_reason": _logged(run, problem), **run.identity}
    write_json(run.folder / "summary.json", summary)
    return summary


def _logged(run: Specification, problem: Exception) -> str:
    """Log a failure with its traceback; its last line."""
    reason = f"{type(problem).__name__}: {problem}"
    log.error("%s failed: %s\n%s", run.name, reason, traceback.format_exc())
    return reason


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()

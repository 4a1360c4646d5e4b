"""`run_one(config)`: the one function that every launcher calls, most of them through `attempt`.

A run is running, completed, failed or interrupted, as its folder says; repeating a command runs only what is missing,
and imports no torch where nothing is.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nlhf.budget import Budget, Progress, cut_short, spent, stop_reason
from nlhf.config import ConfigError
from nlhf.io.files import WriteError, damaged, read_json, remove_temporary, write_json, writing
from nlhf.io.links import make_folder, open_log, refuse_links
from nlhf.records import DivergedError, is_input
from nlhf.runner.backup import move_aside
from nlhf.runner.console import result
from nlhf.runner.lock import BusyError, Ownership, locked
from nlhf.runner.specification import Specification, specify
from nlhf.runner.stop import StopRequest, stop_on_signal
from nlhf.runner.within_budget import exceeds, limits, summary_within
from nlhf.terminal import LineFormatter, warn_lines

if TYPE_CHECKING:
    from nlhf.runner.world import World

log = logging.getLogger("nlhf")
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)  # as torch says it
OF_THE_COMMAND = (ConfigError, BusyError, WriteError)  # not of the run, and not recorded in its folder


class Ended(NamedTuple):
    """How a task of a sweep ended.

    Args:
        task: the name of its run, or what was asked for where there is none.
        state: completed, skipped, failed, interrupted or refused.
        value: log10 of the final exploitability, inf where there is none.
        words: what it came to, or why not.
        signal: the number of the signal that stopped it, or 0.
        budget: the budget of the task, as the command line writes it.
    """

    task: str
    state: str
    value: float = math.inf
    words: str = ""
    signal: int = 0
    budget: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_one` ended.

    Args:
        folder: of the run.
        summary: the content of summary.json.
        budget: the budget of the call; the completed run may have had a larger one.
        skipped: was there nothing to do?
        signal: the number of the signal that stopped it, or 0.
    """

    folder: Path
    summary: dict[str, Any]
    budget: Budget
    skipped: bool = False
    signal: int = 0

    @property
    def status(self) -> str:
        """completed, failed or interrupted."""
        return str(self.summary["status"])

    @cached_property
    def summary_at_budget(self) -> dict[str, Any]:
        """The summary with the metrics and costs that the run had at the budget of the call."""
        if not exceeds(self.summary, self.budget):
            return self.summary
        return summary_within(self.folder, self.summary, self.budget)

    @property
    def larger_budget(self) -> str | None:
        """The budget of the completed run if it is larger than that of the call, as the command line writes it."""
        return limits(self.summary["budget"]) if exceeds(self.summary, self.budget) else None

    @property
    def log10_exploitability(self) -> float:
        """At the budget of the call, mean over seeds; a hyper-parameter search minimises it. inf for a failed run."""
        value = self.summary_at_budget["final"].get("exploitability")
        return math.inf if value is None or self.status == "failed" else math.log10(max(value, 1e-300))

    def ended(self, state: str) -> Ended:
        """The outcome as that of a task of a sweep."""
        words = result(self.summary_at_budget)
        if self.larger_budget:
            words += f" (the run has {self.larger_budget})"
        name, budget = str(self.summary["run"]), limits(asdict(self.budget))
        return Ended(name, state, self.log10_exploitability, words, self.signal, budget)


Watch = Callable[[Specification], contextlib.AbstractContextManager[Callable[[Progress], None]]]


@contextlib.contextmanager
def unwatched(run: Specification) -> Iterator[Callable[[Progress], None]]:  # noqa: ARG001 (shape of a Watch)
    """No progress is shown."""
    yield lambda _: None


def attempt(config: Mapping[str, Any], overrides: Sequence[str]) -> Ended:
    """`run_one` as a task of a sweep: nothing is raised, so that its siblings go on."""
    task = " ".join(overrides)
    try:
        outcome = run_one(config, overrides=overrides)
    except (ConfigError, BusyError) as problem:
        return Ended(task, "refused", words=str(problem))
    except Exception as problem:
        if not isinstance(problem, WriteError):
            warn_lines(traceback.format_exc().rstrip())
        return Ended(task, "failed", words=_in_a_line(problem))
    state = "skipped" if outcome.skipped and outcome.status == "completed" else outcome.status
    return outcome.ended(state)


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
    if run.options.dry_run:
        raise ConfigError("dry_run=true is for single runs and for hydra/sweeper=study: leave it out.")
    if run.collapsed:
        log.warning("nothing in this run is random: one seed is run instead of %d, as copies are no replications",
                    run.collapsed)  # fmt: skip
    anew, run = run.options.force, run.unforced
    if not anew and (earlier := finished(run)):
        return Outcome(run.folder, earlier, run.budget, skipped=True)
    try:
        from nlhf.runner.assemble import assemble

        world = assemble(run)
    except OF_THE_COMMAND:
        raise
    except Exception as problem:
        if anew:
            move_aside(run.folder)
        return fail(run, problem)
    if anew:
        move_aside(run.folder)
    with opened(run) as owned, stop_on_signal() as stop:
        if earlier := finished(run):
            return Outcome(run.folder, earlier, run.budget, skipped=True)
        if mended := _mended(run, world, owned, overrides):
            return mended
        try:
            return _train(run, world, owned, stop, watch, overrides)
        except OF_THE_COMMAND:
            raise
        except Exception as problem:
            return Outcome(run.folder, _record_failure(run, problem), run.budget, signal=stop.received or 0)


def fail(run: Specification, problem: Exception) -> Outcome:
    """Record a failure outside of training, unless another process has completed the run."""
    with opened(run):
        earlier = finished(run)
        return Outcome(run.folder, earlier or _record_failure(run, problem), run.budget, skipped=bool(earlier))


def finished(run: Specification) -> dict[str, Any] | None:
    """The summary of this run if nothing is left to do, else None.

    Nothing is left to do if the run was completed with at least this budget and its files are intact, or if it failed
    and failed runs are not to be repeated.

    Raises: ConfigError if the folder holds another run, one of another RESULTS_VERSION, or damage that only a
    checkpoint could repair and there is none.
    """
    path = run.folder / "summary.json"
    if not path.exists():
        return None
    summary = _summary(run, path)
    if summary is not None and summary["status"] == "failed" and not run.options.retry_failed:
        return summary
    lost = _lost_result(run, summary)
    if lost and not (run.folder / "checkpoint.pt").exists():
        raise ConfigError(f"{lost} is missing or damaged, and there is no checkpoint to restore it from: repeat the "
                          "command with force=true, which moves the folder aside and runs again from the start.")  # fmt: skip
    if lost or summary is None or not _reached(run, summary):
        return None
    inputs = {name: record for name, record in summary["files"].items() if is_input(name)}
    return None if damaged(run.folder, inputs) else summary


def _summary(run: Specification, path: Path) -> dict[str, Any] | None:
    """The content of the run's summary.json; None if it is missing or damaged.

    Raises: ConfigError if it is the summary of another run, or of another RESULTS_VERSION.
    """
    if (summary := read_json(path)) is None:
        return None
    run.check_same(summary)
    try:
        Progress.from_json(summary["progress"])
        return summary if summary["status"] != "completed" or isinstance(summary["files"], dict) else None
    except (KeyError, TypeError, ValueError):
        return None


def _reached(run: Specification, summary: Mapping[str, Any]) -> bool:
    """Was the run completed with at least this budget?"""
    done = spent(run.budget, Progress.from_json(summary["progress"])).all()
    return summary["status"] == "completed" and bool(done)


def _lost_result(run: Specification, summary: Mapping[str, Any] | None) -> Path | None:
    """A damaged file of a completed run that only a checkpoint can restore; None if there is none."""
    if summary is None:
        return run.folder / "summary.json"
    if summary["status"] != "completed":
        return None
    lost = [name for name in damaged(run.folder, summary["files"]) if not is_input(name)]
    return run.folder / lost[0] if lost else None


def _mended(run: Specification, world: World, owned: Ownership, overrides: Sequence[str]) -> Outcome | None:
    """A completed run after damaged files that need no training were written again; None if that is not enough."""
    from nlhf.runner.folder import RunFolder

    summary = _summary(run, run.folder / "summary.json")
    if summary is None or not _reached(run, summary) or not all(map(is_input, damaged(run.folder, summary["files"]))):
        return None
    repaired = RunFolder(run, world, owned.check).mend(overrides)
    return Outcome(run.folder, repaired, run.budget, skipped=True)


def _train(
    run: Specification,
    world: World,
    owned: Ownership,
    stop: StopRequest,
    watch: Watch,
    overrides: Sequence[str],
) -> Outcome:
    """Train from the start or the last checkpoint, and record how it ended."""
    from nlhf.runner.folder import RunFolder

    folder = RunFolder(run, world, owned.check)
    seconds = run.options.checkpoint_seconds
    trainer = world.trainer(run, folder, interrupted=stop, checkpoint_seconds=seconds)
    path = run.folder / "summary.json"
    lost = _lost_result(run, _summary(run, path)) if path.exists() else None
    if checkpoint := folder.resume(trainer.state):
        trainer.restore(checkpoint)
        if lost:
            log.warning("%s was missing or damaged: it is restored from the checkpoint", lost)
        log.info("going on from iteration %d", trainer.progress.iterations.max())
    folder.begin(overrides)
    status, reason = "failed", None
    try:
        with watch(run) as trainer.tick:
            if trainer.run():
                status, reason = "completed", stop_reason(run.budget, trainer.progress)
                if sentence := cut_short(run.budget, trainer.progress, run.policy.few_iterations):
                    log.warning(sentence)
            else:
                status, reason = "interrupted", stop.received.name if stop.received else None
    except OF_THE_COMMAND:
        raise
    except Exception as problem:  # recorded, so that the siblings of a sweep go on
        reason = _logged(run, problem)
    folder.conclude(status, reason, trainer.state.policy, trainer.progress)
    return Outcome(folder.path, read_json(folder.path / "summary.json") or {}, run.budget, signal=stop.received or 0)


@contextlib.contextmanager
def opened(run: Specification) -> Iterator[Ownership]:
    """Hold the lock of the run's folder, remove what a killed process left half-written, and write its log."""
    with contextlib.ExitStack() as stack:
        with writing(run.folder):
            make_folder(run.folder)
            refuse_links(run.folder)
            owned = stack.enter_context(locked(run.folder))
            remove_temporary(run.folder)
            stack.callback((handler := _RunLog(run.folder / "run.log")).close)
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        stack.callback(log.removeHandler, handler)
        yield owned


class _RunLog(logging.FileHandler):
    """The log of a run. Write errors are ignored here; the run's other files report a full disk."""

    def _open(self) -> Any:
        descriptor = open_log(Path(self.baseFilename))
        return os.fdopen(descriptor, self.mode, encoding="utf-8", errors="backslashreplace", newline="\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def _record_failure(run: Specification, problem: Exception) -> dict[str, Any]:
    """The summary of a run that failed before it had anything to measure; earlier progress is kept."""
    earlier = read_json(run.folder / "summary.json") or {}
    nothing = {"final": {}, "equilibrium": None, "progress": Progress.none(len(run.options.seeds)).to_json()}
    summary = nothing | earlier | {"status": "failed", "stop_reason": _logged(run, problem), **run.identity}
    write_json(run.folder / "summary.json", summary)
    return summary


def _logged(run: Specification, problem: Exception) -> str:
    """Log a failure with its traceback; its last line."""
    words = _in_a_line(problem)
    if isinstance(problem, DivergedError):
        words = f"{words}: {run.prox.remedy}"
    elif isinstance(problem, MemoryError) or OUT_OF_MEMORY.search(words):
        words = f"out of memory: give {run.policy.spares_memory} ({words[:200]})"
    log.error("%s failed: %s", run.name, words, exc_info=problem)
    return words


def _in_a_line(problem: Exception) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())

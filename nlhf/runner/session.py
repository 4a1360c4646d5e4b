"""Exclusive work in a run's folder: its lock, its log, and the record of a failure."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlhf.budget import Progress
from nlhf.io.files import remove_temporary, writing
from nlhf.io.json_files import read_json, write_json
from nlhf.io.links import make_folder, open_log, refuse_links
from nlhf.runner.finished import finished
from nlhf.runner.lock import Ownership, locked
from nlhf.runner.outcome import Outcome
from nlhf.runner.recorder import DivergedError
from nlhf.runner.specification import Specification
from nlhf.terminal import LineFormatter

log = logging.getLogger("nlhf")
# What torch says when memory is exhausted
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@contextlib.contextmanager
def opened(run: Specification) -> Iterator[Ownership]:
    """Hold the lock of the run's folder, remove half-written files of killed processes, and write the run's log."""
    with contextlib.ExitStack() as stack:
        with writing(run.folder):
            make_folder(run.folder)
            refuse_links(run.folder)
            ownership = stack.enter_context(locked(run.folder))
            remove_temporary(run.folder)
            stack.callback((handler := _RunLog(run.folder / "run.log")).close)
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        stack.callback(log.removeHandler, handler)
        yield ownership


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


def fail(run: Specification, problem: Exception) -> Outcome:
    """Record a failure outside of training, unless another process has completed the run."""
    with opened(run):
        earlier = finished(run)
        return Outcome(run.folder, earlier or record_failure(run, problem), run.budget, skipped=bool(earlier))


def record_failure(run: Specification, problem: Exception) -> dict[str, Any]:
    """Write the summary of a run that failed before it could measure anything; earlier progress stays in it."""
    earlier = read_json(run.folder / "summary.json") or {}
    empty = {"final": {}, "equilibrium": None, "progress": Progress.none(len(run.options.seeds)).to_json()}
    summary = empty | earlier | {"status": "failed", "stop_reason": log_failure(run, problem), **run.identity}
    write_json(run.folder / "summary.json", summary)
    return summary


def log_failure(run: Specification, problem: Exception) -> str:
    """Log a failure with its traceback, and return its message, with a remedy if there is one."""
    message = in_a_line(problem)
    if isinstance(problem, DivergedError):
        message = f"{message}: {run.prox.remedy}"
    elif isinstance(problem, MemoryError) or OUT_OF_MEMORY.search(message):
        message = f"out of memory: give {run.policy.spares_memory} ({message[:200]})"
    log.error("%s failed: %s", run.name, message, exc_info=problem)
    return message


def in_a_line(problem: Exception) -> str:
    """The type and the message of an error in one line."""
    return " ".join(f"{type(problem).__name__}: {problem}".split())

"""Kill a process at its Nth file operation, and check what it leaves behind.

`killed` forks this process. The child counts every operation that changes files below a folder (open for writing,
write, flush to disk, rename, unlink, mkdir, truncate) and dies at the one that was asked for, as a process dies when
the power fails: no `finally` runs, and a write that is interrupted leaves half of its bytes.
"""

from __future__ import annotations

import builtins
import csv
import io
import json
import math
import multiprocessing
import os
import re
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.algorithms.nash_mp import NashMP
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.load import load_study
from nlhf.files import damaged, read_json
from nlhf.launch import status

NEVER = 1_000_000_000
EXIT = 77  # of a child that was killed by the harness
EVENTS = {"os.rename": "rename", "os.remove": "unlink", "os.mkdir": "mkdir", "os.rmdir": "rmdir", "os.link": "link",
          "os.symlink": "symlink", "os.truncate": "truncate"}  # fmt: skip
SUMMARY = ("status", "stop_reason", "fingerprint", "results_version", "seeds", "method", "final",
           "queries_to_exploitability", "equilibrium", "vectorised_with")  # fmt: skip


class Operations:
    """Counts the file operations below `root` and ends the process at number `at`.

    Args:
        report: called with the name of the operation at which the process ends.
    """

    def __init__(self, root: Path, at: int, report: Callable[[str], None]) -> None:
        self.root, self.at, self.report = root, at, report
        self.names: list[str] = []
        self.lock = threading.Lock()

    def install(self) -> None:
        """Watch this process from now on; there is no way back, so call it in a child."""
        sys.addaudithook(self._audit)
        io.open = builtins.open = self._open(io.open)  # type: ignore[assignment]
        for name in ("fsync", "pwrite", "write", "ftruncate"):
            setattr(os, name, self._on_descriptor(name, getattr(os, name)))

    def due(self, kind: str, path: Any) -> bool:
        """Count an operation; True if it is the one at which to die."""
        if isinstance(path, int):
            path = _path_of(path)
        name = Path(os.fsdecode(path)).absolute()
        if not name.is_relative_to(self.root):
            return False
        with self.lock:
            self.names.append(f"{kind} {_plain(str(name.relative_to(self.root)))}")
            return len(self.names) == self.at

    def die(self) -> None:
        self.report(self.names[-1])
        os._exit(EXIT)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self.due("open", path):
                self.die()
        elif event in EVENTS and self.due(EVENTS[event], arguments[0]):
            self.die()

    def _on_descriptor(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(descriptor: int, *arguments: Any) -> Any:
            if self.due(name, descriptor):
                self.die()
            return function(descriptor, *arguments)

        return wrapped

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        operations = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                view = memoryview(data).cast("B")
                if operations.due("write", self.fileno()):
                    super().write(view[: len(view) // 2])
                    operations.die()
                return super().write(view)

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
                   errors: str | None = None, newline: str | None = None, *rest: Any,
                   **options: Any) -> Any:  # fmt: skip
            if isinstance(file, int) or rest or options or set(mode) <= set("rbt") or buffering != -1:
                return original(file, mode, buffering, encoding, errors, newline, *rest, **options)
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return binary if "b" in mode else io.TextIOWrapper(binary, encoding, errors, newline)

        return opened


def _path_of(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def _plain(name: str) -> str:
    """A path without what differs between runs: process ids, tokens and fingerprints."""
    return re.sub(r"\.[0-9]+-[0-9a-f]{8}\.tmp", ".tmp", re.sub(r"-[0-9a-f]{12}\b|[0-9a-f]{64}", "*", name))


@dataclass(frozen=True)
class Child:
    """How a forked child ended.

    Args:
        operations: what it did to files, in order; the last one is that at which it was killed.
        died: True if the harness killed it.
        error: the traceback if it ended by an exception.
    """

    operations: list[str]
    died: bool
    error: str


def killed(work: Callable[[], Any], root: Path, at: int = NEVER) -> Child:
    """Do `work` in a forked child that dies at its file operation number `at` below `root`."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where other threads run
        child = os.fork()
    if child == 0:
        _child(work, root, at, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        told = json.loads(stream.read() or "{}")
    _, state = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(state)
    assert code in (0, EXIT), f"exit code {code} at operation {at}: {told}"
    return Child(told.get("operations", []), code == EXIT, told.get("error", ""))


def _child(work: Callable[[], Any], root: Path, at: int, writer: int) -> None:
    write, close, error = os.write, os.close, ""

    def report(_: str) -> None:
        content = json.dumps({"operations": operations.names, "error": error}).encode()
        while content:
            content = content[write(writer, content) :]
        close(writer)

    operations = Operations(root, at, report)
    try:
        operations.install()
        work()
    except BaseException:
        error = traceback.format_exc()
    report("")
    os._exit(0)


@dataclass(frozen=True)
class KilledWorker(NashMP):
    """Nash Mirror Prox whose first worker of a pool dies at a file operation.

    Args:
        plan: a JSON file with `root`, `at`, and `begun`, a file that marks that a worker has this plan already.
    """

    plan: str = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        plan = json.loads(Path(self.plan).read_text(encoding="utf-8"))
        if multiprocessing.parent_process() is not None and not Path(plan["begun"]).exists():
            Path(plan["begun"]).touch()
            Operations(Path(plan["root"]), plan["at"], lambda _: None).install()


def representatives(operations: Sequence[str], kinds: Sequence[str]) -> list[int]:
    """Numbers of operations, counted from 1: the first and the last of these kinds on every file, and those after them.

    The states between two of them differ in a temporary file alone.
    """
    chosen = [(number, name) for number, name in enumerate(operations, 1) if name.split()[0] in kinds]
    first = {name: number for number, name in reversed(chosen)}
    last = {name: number for number, name in chosen}
    ends = {*first.values(), *last.values()}
    return sorted(ends | {number + 1 for number in ends if number < len(operations)})


def left_behind(folder: Path) -> dict[str, Any]:
    """All results of a run, without times; a run killed once it is complete may leave its lock and checkpoint, too."""
    summary = read_json(folder / "summary.json") or {}
    progress = {name: value for name, value in summary.get("progress", {}).items() if name != "seconds"}
    found: dict[str, Any] = {"summary": {name: summary.get(name) for name in SUMMARY} | {"progress": progress}}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in ("lock", "checkpoint.pt"):
            continue
        found[name] = None  # its presence counts
        if path.suffix == ".csv":
            found[name] = rows(path)
        elif path.suffix == ".npz":
            with np.load(path) as saved:
                found[name] = {key: (saved[key].dtype.str, saved[key].tobytes()) for key in saved}
        elif path.suffix == ".yaml":
            found[name] = path.read_text(encoding="utf-8")
    return found


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], close: bool = False) -> list[str]:
    """The names of the files, or `summary`, that differ.

    Args:
        close: compare numbers up to rounding; runs that are computed as one batch round in another order.
    """
    names = dict.fromkeys([*expected, *found])
    same = _close if close else lambda _, one, other: one == other
    return [name for name in names
            if not (name in expected and name in found and same(name, expected[name], found[name]))]  # fmt: skip


def _close(name: str, expected: Any, found: Any) -> bool:
    if name == "summary":
        kept = ("status", "stop_reason", "fingerprint", "seeds")
        return all(expected[key] == found[key] for key in kept)
    if name.endswith(".csv"):
        cells = [[cell for row in table for cell in row.values()] for table in (expected, found)]
        return len(cells[0]) == len(cells[1]) and all(map(_close_cells, *cells))
    if name.endswith(".npz"):
        return expected.keys() == found.keys() and all(
            dtype[1] != "f" or np.allclose(*(np.frombuffer(data, dtype) for data in (one, found[key][1])), atol=1e-10,
                                           equal_nan=True) for key, (dtype, one) in expected.items()
        )  # fmt: skip
    return bool(expected == found)


def _close_cells(expected: str, found: str) -> bool:
    if expected == found:
        return True
    try:
        return math.isclose(float(expected), float(found), rel_tol=1e-7, abs_tol=1e-12)
    except ValueError:
        return False


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without times."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def last_iterations(folder: Path) -> dict[str, int]:
    """The last iteration on disk, by seed."""
    last: dict[str, int] = {}
    if (folder / "metrics.csv").exists():
        for row in rows(folder / "metrics.csv"):
            last[row["seed"]] = max(last.get(row["seed"], -1), int(row["iteration"]))
    return last


def faults(folder: Path, before: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a run's folder after a kill.

    Args:
        before: the last iteration of every seed before the command; no instant may have fewer.
    """
    now = last_iterations(folder)
    if lost := {seed: now.get(seed, -1) for seed, reached in before.items() if now.get(seed, -1) < reached}:
        yield f"rows were lost: {dict(before)} became {lost}"
    summary = read_json(folder / "summary.json")
    if summary is None and (folder / "summary.json").exists():
        yield "summary.json is torn"
    if summary and summary["status"] == "completed":
        yield from _summary_faults(folder, summary, now)
    yield from _status_faults(folder, (summary or {}).get("status"))
    try:
        load_study(folder.parent)
    except AnalysisError:
        pass
    except Exception as problem:
        yield f"analysis: {problem!r}"


def _status_faults(folder: Path, state: str | None) -> Iterator[str]:
    if not folder.is_dir():
        return
    try:
        status.show(folder.parent, Counter())
        shown = {run.name: run.state for run in status.states(folder.parent)}
    except Exception as problem:
        yield f"status: {problem!r}"
        return
    if shown.get(folder.name) not in (None, "interrupted" if state in (None, "running") else state):
        yield f"summary.json says {state}, status says {shown[folder.name]}"


def _summary_faults(folder: Path, summary: Mapping[str, Any], now: Mapping[str, int]) -> Iterator[str]:
    claimed = dict(zip(map(str, summary["seeds"]), summary["progress"]["iterations"], strict=True))
    if claimed != now:
        yield f"summary.json says completed at {claimed}, metrics.csv ends at {now}"
    if wrong := damaged(folder, summary["files"]):
        yield f"summary.json says completed, but {', '.join(wrong)} differ"

"""Kill a process at its Nth file operation.

`killed` forks this process. The child counts every operation that changes files below a folder (open for writing,
write, flush to disk, rename, unlink, mkdir, truncate) and dies at the one that was asked for, as a process dies when
the power fails: no `finally` runs, and a write that is interrupted leaves half of its bytes.
"""

from __future__ import annotations

import builtins
import io
import json
import multiprocessing
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlhf.algorithms.nash_mp import NashMP

NEVER = 1_000_000_000
EXIT = 77  # of a child that was killed by the harness
EVENTS = {"os.rename": "rename", "os.remove": "unlink", "os.mkdir": "mkdir", "os.rmdir": "rmdir", "os.link": "link",
          "os.symlink": "symlink", "os.truncate": "truncate"}  # fmt: skip


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

"""A run folder's lock: at most one process works on a run.

On one host the kernel decides (flock); it frees the lock when its owner dies. Hosts need not share the kernel's locks,
so the owner also writes a heartbeat: after 60 s without one, another host may take the run over. An owner that was
silent for so long finds another token in the file and writes no more. Clocks must agree to some seconds. A heartbeat in
the future shows that they do not; then the age of the file decides, by the clock of its file system.

What the file holds is never trusted: content that names no owner counts as an empty lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError, is_number
from nlhf.io.files import writing
from nlhf.io.links import open_file

BEAT, SILENCE = 10.0, 60.0  # seconds
LENGTH = 512  # bytes of a lock file


class BusyError(RuntimeError):
    """Another process works on this run."""


class LostError(BusyError):
    """This process has lost its lock."""


class Ownership:
    """The right to write into a run's folder, as long as its lock holds our token."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}

    def holds(self) -> bool:
        """True while the lock is ours. Garbage in our own file leaves it ours; the next beat overwrites it."""
        owner = owner_of(self.path)
        return owner["token"] == self.owner["token"] if owner else _names(self.path, self.descriptor)

    def check(self) -> None:
        """Called before every write.

        Raises: LostError if another process has taken the run over, or the lock file was removed.
        """
        with writing(self.path):
            if self.holds():
                return
        if owner := owner_of(self.path):
            raise LostError(
                f"{self.path.parent} was taken over by another process ({_shown(owner)}), as this one was silent for "
                f"more than {SILENCE:.0f} s or its lock was removed: it writes nothing more; let the other one finish."
            )
        raise LostError(
            f"{self.path} was removed or replaced while this process worked on the run, and another process may have "
            "used it since: this one writes nothing more; repeat the command to go on from the last checkpoint."
        )

    def beat(self) -> None:
        """Write owner and time, always as many bytes: a concurrent reader finds whole JSON."""
        content = json.dumps(self.owner | {"heartbeat": int(time.time())}).encode()
        os.pwrite(self.descriptor, content.ljust(LENGTH), 0)
        os.ftruncate(self.descriptor, LENGTH)


@contextmanager
def locked(folder: Path) -> Iterator[Ownership]:
    """Hold `folder`/lock with owner (host, pid, token) and heartbeat; the file is removed at the end.

    Raises: BusyError while another process of this host holds it, or one of another host that was heard of within 60 s;
    ConfigError if it is no regular file; WriteError.
    """
    path = folder / "lock"
    with writing(path):
        owned, done = Ownership(path, _acquire(path)), threading.Event()
    thread = threading.Thread(target=_keep_beating, args=(owned, done), daemon=True)
    try:
        with writing(path):
            owned.beat()
        thread.start()
        yield owned
    finally:
        done.set()
        if thread.ident:
            thread.join()
        with suppress(OSError):
            if owned.holds():
                path.unlink(missing_ok=True)
        os.close(owned.descriptor)


def owner_of(path: Path) -> dict[str, Any]:
    """The owner that a lock file names: `host`, `pid`, `token` and `heartbeat` in seconds; empty if it names none."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except (OSError, ConfigError):
        return {}
    try:
        with os.fdopen(descriptor, "rb") as stream:
            owner = json.loads(stream.read(LENGTH)) | {"written": os.fstat(stream.fileno()).st_mtime}
        return owner if _is_valid(owner) else {}
    except (OSError, ValueError, TypeError, ArithmeticError, RecursionError):
        return {}


def _is_valid(owner: Mapping[str, Any]) -> bool:
    host, pid, token, heartbeat = (owner.get(key) for key in ("host", "pid", "token", "heartbeat"))
    texts = isinstance(host, str) and isinstance(token, str) and bool(host and token) and host.isprintable()
    process = type(pid) is int and 0 < pid < 2**31
    return texts and process and is_number(heartbeat) and 0 <= heartbeat <= sys.float_info.max  # type: ignore[operator]


def is_alive(owner: Mapping[str, Any], now: float | None = None) -> bool:
    """True if the owner was heard of within 60 s and, where we can look, its process exists.

    Args:
        owner: as `owner_of` gives it.
        now: by the clock of the lock's file system; default the clock of this host.
    """
    if not owner or _is_gone(owner):
        return False
    silence = time.time() - float(owner["heartbeat"])
    if silence <= -SILENCE:  # the clocks of the two hosts disagree
        silence = abs((time.time() if now is None else now) - float(owner["written"]))
    return silence < SILENCE


def _is_gone(owner: Mapping[str, Any]) -> bool:
    """True if the owner is a process of this host that has ended."""
    here = owner["host"] == socket.gethostname() and Path("/proc/self").exists()
    return here and not Path(f"/proc/{owner['pid']}").exists()


def _shown(owner: Mapping[str, Any]) -> str:
    ahead = float(owner["heartbeat"]) - time.time()
    clock = f", whose clock is {ahead:.3g} s ahead of ours" if ahead >= SILENCE else ""
    return f"process {owner['pid']} on {owner['host']}{clock}"


def _acquire(path: Path) -> int:
    """A descriptor that holds the kernel's lock on the file that `path` names now."""
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        free, owner = _lock(descriptor), owner_of(path)
        elsewhere = bool(owner) and owner["host"] != socket.gethostname()
        if (elsewhere and is_alive(owner, _now(path.parent))) or not (free or elsewhere):
            os.close(descriptor)
            who = f"another process, which holds {path}" if not owner or _is_gone(owner) else _shown(owner)
            raise BusyError(
                f"{path.parent} is being worked on by {who}: wait for it, or stop it and repeat the command."
            )
        if free and _names(path, descriptor):
            if os.fstat(descriptor).st_nlink == 1:
                return descriptor
            path.unlink()  # a hard link: what we write must not reach the file's other names
        os.close(descriptor)  # or its owner finished, and removed the file, between our two calls
        if not free and _still(path, owner):  # of a host that is silent, but whose lock the file system keeps
            path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: Path, descriptor: int) -> bool:
    """True if `path` is the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _now(folder: Path) -> float:
    """The time by the clock of the folder's file system."""
    probe = folder / f".lock.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        with probe.open("x"):
            return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _still(path: Path, owner: Mapping[str, Any]) -> bool:
    """True if nobody else has taken over meanwhile."""
    time.sleep(0.5)
    return owner_of(path) == owner


def _keep_beating(owned: Ownership, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):
            if not owned.holds():
                return
            owned.beat()

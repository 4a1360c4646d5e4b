"""A run folder's lock: at most one process works on a run.

On one host the kernel decides (flock) and frees the lock when its owner dies. Hosts may not share the kernel's locks,
so the owner also writes a heartbeat: after 60 s without one, another host may take the run over. An owner that was
silent for that long finds another token in the file and stops writing. The clocks of hosts must agree within seconds.
A heartbeat in the future shows that they do not; then the age of the file by its file system's clock decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nlhf.io.files import writing
from nlhf.io.links import open_file
from nlhf.runner.owner import LENGTH, SILENCE, is_alive, is_gone, owner_of, owner_text

BEAT = 10.0  # seconds between two heartbeats


class BusyError(RuntimeError):
    """Another process works on this run."""


class LostError(BusyError):
    """This process has lost its lock."""


class Ownership:
    """The right to write into a run's folder as long as its lock holds the token of this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}

    def holds(self) -> bool:
        """True while this process owns the lock. The next beat overwrites garbage in the file."""
        owner = owner_of(self.path)
        return owner["token"] == self.owner["token"] if owner else _names(self.path, self.descriptor)

    def check(self) -> None:
        """Check the lock; called before every write.

        Raises: LostError if another process has taken the run over, or the lock file was removed.
        """
        with writing(self.path):
            if self.holds():
                return
        if owner := owner_of(self.path):
            raise LostError(
                f"{self.path.parent} was taken over by another process ({owner_text(owner)}), as this one was silent "
                f"for more than {SILENCE:.0f} s or its lock was removed: it writes nothing more; let the other one "
                "finish."
            )
        raise LostError(
            f"{self.path} was removed or replaced while this process worked on the run, and another process may have "
            "used it since: this one writes nothing more; repeat the command to go on from the last checkpoint."
        )

    def beat(self) -> None:
        """Write owner and time, always LENGTH bytes, so that a concurrent reader reads complete JSON."""
        content = json.dumps(self.owner | {"heartbeat": int(time.time())}).encode()
        os.pwrite(self.descriptor, content.ljust(LENGTH), 0)
        os.ftruncate(self.descriptor, LENGTH)


@contextmanager
def locked(folder: Path) -> Iterator[Ownership]:
    """Hold `folder`/lock with owner (host, pid, token) and heartbeat; the file is removed at the end.

    Raises: BusyError while another process of this host holds it, or a process of another host whose last heartbeat is
    less than 60 s old; ConfigError if it is not a regular file; WriteError.
    """
    path = folder / "lock"
    with writing(path):
        ownership, released = Ownership(path, _acquire(path)), threading.Event()
    thread = threading.Thread(target=_keep_beating, args=(ownership, released), daemon=True)
    try:
        with writing(path):
            ownership.beat()
        thread.start()
        yield ownership
    finally:
        released.set()
        if thread.ident:
            thread.join()
        with suppress(OSError):
            if ownership.holds():
                path.unlink(missing_ok=True)
        os.close(ownership.descriptor)


def _acquire(path: Path) -> int:
    """A descriptor that holds the kernel's lock on the file that `path` currently names."""
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        free, owner = _lock(descriptor), owner_of(path)
        elsewhere = bool(owner) and owner["host"] != socket.gethostname()
        if (elsewhere and is_alive(owner, _now(path.parent))) or not (free or elsewhere):
            os.close(descriptor)
            who = f"another process, which holds {path}" if not owner or is_gone(owner) else owner_text(owner)
            raise BusyError(
                f"{path.parent} is being worked on by {who}: wait for it, or stop it and repeat the command."
            )
        if free and _names(path, descriptor):
            if os.fstat(descriptor).st_nlink == 1:
                return descriptor
            path.unlink()  # a hard link: writes must not reach the file's other names
        os.close(descriptor)  # the owner may have removed the file between the two calls
        if not free and _is_unchanged(path, owner):  # a silent host, whose lock the file system keeps
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


def _is_unchanged(path: Path, owner: Mapping[str, Any]) -> bool:
    """True if no other process has taken the lock over within half a second."""
    time.sleep(0.5)
    return owner_of(path) == owner


def _keep_beating(ownership: Ownership, released: threading.Event) -> None:
    while not released.wait(BEAT):
        with suppress(OSError):
            if not ownership.holds():
                return
            ownership.beat()

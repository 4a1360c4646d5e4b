"""One process works on a run: a lock that the kernel frees when its owner dies, with a heartbeat for other hosts.

On one host the kernel's lock decides. Across hosts, where file systems need not share it, a run is taken over after
60 s without a heartbeat; an owner that was silent for so long finds another token in the file and writes no more.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BEAT, SILENCE = 10.0, 60.0  # seconds


class BusyError(RuntimeError):
    """Another process works on this run."""


class LostError(BusyError):
    """Another process has taken this run over."""


class Ownership:
    """The right to write into a run's folder, as long as its lock holds our token."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}

    def holds(self) -> bool:
        """Is the token in the file ours?"""
        return owner_of(self.path).get("token") == self.owner["token"]

    def check(self) -> None:
        """Called before every write.

        Raises: LostError where another process has taken the run over.
        """
        if not self.holds():
            raise LostError(
                f"{self.path.parent} was taken over by another process while this one was silent for more than "
                f"{SILENCE:.0f} s: it writes nothing more; let the other one finish."
            )

    def beat(self) -> None:
        """Write owner and time."""
        content = json.dumps(self.owner | {"heartbeat": time.time()}).encode()
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))


@contextmanager
def locked(folder: Path) -> Iterator[Ownership]:
    """Hold `folder`/lock with owner (host, pid, token) and heartbeat; the file goes when the work is done.

    Raises: BusyError where another process of this host holds it, or one of another host that was heard of within 60 s.
    """
    path = folder / "lock"
    owned = Ownership(path, _acquire(path))
    owned.beat()
    done = threading.Event()
    thread = threading.Thread(target=_keep_beating, args=(owned, done), daemon=True)
    thread.start()
    try:
        yield owned
    finally:
        done.set()
        thread.join()
        if owned.holds():
            path.unlink(missing_ok=True)
        os.close(owned.descriptor)


def owner_of(path: Path) -> dict[str, object]:
    """The content of a lock file: `host`, `pid`, `token` and `heartbeat` in seconds; empty where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_alive(owner: dict[str, object]) -> bool:
    """Was its owner heard of within 60 s?"""
    return time.time() - float(str(owner.get("heartbeat", 0))) < SILENCE


def _acquire(path: Path) -> int:
    """A descriptor that holds the kernel's lock on the file that `path` names now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            owner = owner_of(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if owner.get("host") not in (None, socket.gethostname()) and is_alive(owner):
                raise BlockingIOError
            if path.exists() and os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(
                f"{path.parent} is being worked on by process {owner.get('pid', '?')} on {owner.get('host', '?')}: "
                f"wait for it, or stop it and repeat the command."
            ) from None
        os.close(descriptor)  # its owner finished, and removed the file, between our two calls


def _keep_beating(owned: Ownership, done: threading.Event) -> None:
    while not done.wait(BEAT):
        if not owned.holds():
            return
        owned.beat()

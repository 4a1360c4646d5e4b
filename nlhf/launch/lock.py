"""One process works on a run: a lock that the kernel frees when its owner dies, with a heartbeat for other hosts.

On one host the kernel's lock decides. Across hosts, whose clocks agree to some seconds and whose file systems need not
share locks, a run is taken over after 60 s without a heartbeat; an owner that was silent for so long finds another
token in the file and writes no more.
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
from contextlib import contextmanager, suppress
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
        """Write owner and time: always as many bytes, so that whoever reads meanwhile finds whole JSON."""
        content = json.dumps(self.owner | {"heartbeat": int(time.time())}).encode()
        os.pwrite(self.descriptor, content.ljust(512), 0)


@contextmanager
def locked(folder: Path) -> Iterator[Ownership]:
    """Hold `folder`/lock with owner (host, pid, token) and heartbeat; the file goes when the work is done.

    Raises: BusyError where another process of this host holds it, or one of another host that was heard of within 60 s.
    """
    path = folder / "lock"
    owned, done = Ownership(path, _acquire(path)), threading.Event()
    thread = threading.Thread(target=_keep_beating, args=(owned, done), daemon=True)
    try:
        owned.beat()
        thread.start()
        yield owned
    finally:
        done.set()
        if thread.ident:
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
    """Was its owner heard of within 60 s, and, where we can look, is its process there?"""
    here = owner.get("host") == socket.gethostname() and Path("/proc/self").exists()
    gone = here and not Path(f"/proc/{owner.get('pid')}").exists()
    return not gone and time.time() - float(str(owner.get("heartbeat", 0))) < SILENCE


def _acquire(path: Path) -> int:
    """A descriptor that holds the kernel's lock on the file that `path` names now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        free, owner = _lock(descriptor), owner_of(path)
        elsewhere = owner.get("host") not in (None, socket.gethostname())
        if (elsewhere and is_alive(owner)) or not (free or elsewhere):
            os.close(descriptor)
            raise BusyError(
                f"{path.parent} is being worked on by process {owner.get('pid', '?')} on {owner.get('host', '?')}: "
                f"wait for it, or stop it and repeat the command."
            )
        if free and _names(path, descriptor):
            return descriptor
        os.close(descriptor)  # its owner finished, and removed the file, between our two calls
        if not free and _still(path, owner):  # of a host that is silent, but whose lock the file system keeps
            path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _still(path: Path, owner: dict[str, object]) -> bool:
    """Has nobody else taken over meanwhile?"""
    time.sleep(0.5)
    return owner_of(path) == owner


def _keep_beating(owned: Ownership, done: threading.Event) -> None:
    while not done.wait(BEAT) and owned.holds():
        with suppress(OSError):
            owned.beat()

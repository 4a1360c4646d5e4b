"""One process works on a run: a lock that the kernel frees when its owner dies, with a heartbeat for other hosts."""

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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`/lock with owner (host, pid, token) and heartbeat; the file goes when the work is done.

    Raises: BusyError where another process of this host holds it, or one of another host that was heard of within 60 s.
    """
    path = folder / "lock"
    descriptor = _acquire(path)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """A descriptor that holds the kernel's lock on the file that `path` names now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            owner = _owner(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elsewhere = owner.get("host") not in (None, socket.gethostname())
            if elsewhere and time.time() - float(str(owner.get("heartbeat", 0))) < SILENCE:
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


def _beat(descriptor: int, done: threading.Event) -> None:
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    while True:
        content = json.dumps(owner | {"heartbeat": time.time()}).encode()
        os.ftruncate(descriptor, len(content))
        os.pwrite(descriptor, content, 0)
        if done.wait(BEAT):
            return


def _owner(descriptor: int) -> dict[str, object]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}

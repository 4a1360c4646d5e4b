"""The owner that a lock file names, and whether it is alive.

The content of a lock file is never trusted: a file that names no valid owner counts as an empty lock.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.links import open_file

SILENCE = 60.0  # seconds without a heartbeat after which another host may take a run over
LENGTH = 512  # bytes of a lock file


def owner_of(path: Path) -> dict[str, Any]:
    """The owner that a lock file names: `host`, `pid`, `token` and `heartbeat` in seconds; empty without an owner."""
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
    return texts and process and type(heartbeat) in (int, float) and 0 <= float(heartbeat or 0) <= sys.float_info.max


def is_alive(owner: Mapping[str, Any], now: float | None = None) -> bool:
    """True if the owner's last heartbeat is less than 60 s old and, on this host, its process exists.

    Args:
        owner: as `owner_of` returns it.
        now: the time by the clock of the lock's file system; default the clock of this host.
    """
    if not owner or is_gone(owner):
        return False
    silence = time.time() - float(owner["heartbeat"])
    if silence <= -SILENCE:  # the clocks of the two hosts disagree
        silence = abs((time.time() if now is None else now) - float(owner["written"]))
    return silence < SILENCE


def is_gone(owner: Mapping[str, Any]) -> bool:
    """True if the owner is a process of this host that has ended."""
    visible = owner["host"] == socket.gethostname() and Path("/proc/self").exists()
    return visible and not Path(f"/proc/{owner['pid']}").exists()


def owner_text(owner: Mapping[str, Any]) -> str:
    """The owner in an error message."""
    ahead = float(owner["heartbeat"]) - time.time()
    clock = f", whose clock is {ahead:.3g} s ahead of ours" if ahead >= SILENCE else ""
    return f"process {owner['pid']} on {owner['host']}{clock}"

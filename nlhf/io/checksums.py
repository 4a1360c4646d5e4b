"""Checksums of files, and the records that detect damage to a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = b"\nsha256 "  # starts the last bytes of a sealed file; 64 hexadecimal digits follow
SETTLED = 2_000_000_000  # nanoseconds after its last change from which a file's stamp identifies its content

_digests: dict[tuple[int, ...], str] = {}  # of settled files, by `identity_of`


def sealed(content: bytes | memoryview) -> bytes:
    """`content` followed by its SHA-256, which `unsealed` verifies."""
    return bytes(content) + SEAL + hashlib.sha256(content).hexdigest().encode()


def unsealed(path: Path) -> memoryview | None:
    """The content of a sealed file; None if its seal is missing or does not fit the content.

    Raises: OSError.
    """
    sealed_content = memoryview(path.read_bytes())
    end = max(0, len(sealed_content) - len(SEAL) - 64)
    content, seal = sealed_content[:end], sealed_content[end:]
    return content if seal == SEAL + hashlib.sha256(content).hexdigest().encode() else None


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits; this process reads the file again only after a change.

    Raises: OSError.
    """
    with path.open("rb") as stream:
        now, status = time.time_ns(), os.fstat(stream.fileno())
        identity = identity_of(status)
        if (digest := _digests.get(identity)) is None:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if is_settled(status, now) and identity_of(os.fstat(stream.fileno())) == identity:
                _digests[identity] = digest
        return digest


def stamp(path: Path) -> list[int] | None:
    """Size, times of modification and of change in nanoseconds, and inode of a file; None if it does not exist."""
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """The device and the stamp of a file, which identify its content once they are settled."""
    return status.st_dev, *_stamp_of(status)


def is_settled(status: os.stat_result, now: int) -> bool:
    """True if the stamp identifies the content; two changes within one tick of the clock leave the same stamp."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + SETTLED < now


def _stamp_of(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def file_record(path: Path) -> dict[str, Any]:
    """What `damaged` compares a file with: its size, SHA-256 and stamp."""
    before = stamp(path)
    return {"bytes": path.stat().st_size, "sha256": sha256(path), "stamp": before}


def damaged(folder: Path, files: Mapping[str, Any]) -> list[str]:
    """The names of the files that are missing or differ from their records.

    A file with the stamp of its record is not read. A copied file has another stamp; then its SHA-256 decides.

    Args:
        files: `file_record` by the file's name relative to `folder`.
    """
    return [name for name, record in files.items() if not _is_intact(folder / name, record)]


def _is_intact(path: Path, record: Any) -> bool:
    current = stamp(path)
    if current is None or not isinstance(record, Mapping) or current[0] != record.get("bytes"):
        return False
    try:
        return current == record.get("stamp") or sha256(path) == record.get("sha256")
    except OSError:
        return False

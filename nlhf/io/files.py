"""Files that are replaced whole, never torn, and read back with care."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import yaml

TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]+\.tmp")  # the names that `replacing` gives
CHECKSUM = "checksum"  # the last entry of a JSON file: SHA-256 of the text of all other entries
SEAL = b"\nsha256 "  # begins the last bytes of a sealed file; 64 hexadecimal digits follow


class WriteError(OSError):
    """A file or folder cannot be written: a sentence with the remedy."""


def unusable(problem: OSError) -> str:
    """What the system says about a path that a user gave, as a sentence with the remedy."""
    if isinstance(problem, WriteError):
        return str(problem)
    return f"{problem.filename or 'a file'} cannot be used ({problem.strerror or problem}): give another path."


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path`, or into it, into a WriteError."""
    try:
        yield
    except WriteError:
        raise
    except OSError as problem:
        raise WriteError(
            f"{path} cannot be written ({problem.strerror or problem}): make room or choose another place, and repeat "
            f"the command; what was written before is kept."
        ) from problem


@contextmanager
def replacing(path: Path, mode: str = "w", sync: bool = True) -> Iterator[IO[Any]]:
    """A file that takes the place of `path` when it is whole and on the disk, and leaves it alone if writing fails.

    Args:
        sync: bring the new name to the disk, too. False for a file that a checkpoint or summary.json follows: syncing
            the folder for the latter brings all of its names to the disk, and the checksums in it find what is lost.
    """
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"  # among hosts, too
    temporary = path.with_name(f".{path.name}.{unique}.tmp")
    try:
        text = "b" not in mode
        with writing(path):
            exclusive = mode.replace("w", "x")  # follows no link
            with temporary.open(exclusive, newline="" if text else None, encoding="utf-8" if text else None) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            if sync:
                sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` when it is whole and on the disk; no link in `path` is followed."""
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary, old = (path.with_name(f".{path.name}.{unique}{digit}.tmp") for digit in "01")
    try:
        with writing(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                _sync(file)
            if os.path.lexists(path):
                path.rename(old)
            temporary.rename(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            if not os.path.lexists(path) and os.path.lexists(old):  # stopped between the two renames
                old.rename(path)
            if old.is_symlink():
                old.unlink()
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that a renamed file survives a power failure."""
    try:
        _sync(folder)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that sync no folder
            raise


def remove_temporary(folder: Path, older_than: float = 0.0) -> None:
    """Remove what killed processes left half-written in a folder and below it, not following links.

    Args:
        older_than: age in seconds of what may be removed; 0 only where no other process writes.
    """
    for parent, folders, files in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, [*folders, *files]):
            path = Path(parent, name)
            with suppress(OSError):
                if older_than and time.time() - path.lstat().st_mtime < older_than:
                    continue
                if name in folders:
                    shutil.rmtree(path)
                else:
                    path.unlink()
        folders[:] = [name for name in folders if not TEMPORARY.fullmatch(name)]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that ends with a checksum of its entries; non-finite numbers become null."""
    finite = _finite(content)
    with replacing(path) as stream:
        json.dump({**finite, CHECKSUM: _checksum(finite)}, stream, indent=2)
        stream.write("\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The entries of a JSON file without their checksum; None if the file is missing, unreadable or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    expected = content.pop(CHECKSUM, None)  # files of other programs have none
    return content if expected in (None, _checksum(content)) else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def sealed(content: bytes | memoryview) -> bytes:
    """`content` followed by its SHA-256, which `unsealed` verifies."""
    return bytes(content) + SEAL + hashlib.sha256(content).hexdigest().encode()


def unsealed(path: Path) -> memoryview | None:
    """The content of a sealed file; None if its seal is missing or does not fit the content.

    Raises: OSError.
    """
    whole = memoryview(path.read_bytes())
    cut = max(0, len(whole) - len(SEAL) - 64)
    content, seal = whole[:cut], whole[cut:]
    return content if seal == SEAL + hashlib.sha256(content).hexdigest().encode() else None


def stamp(path: Path) -> list[int] | None:
    """Size, times of modification and of change in nanoseconds, and inode of a file; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits.

    Raises: OSError.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_record(path: Path) -> dict[str, Any]:
    """What `damaged` needs to know about a file: its size, SHA-256 and stamp."""
    before = stamp(path)
    return {"bytes": path.stat().st_size, "sha256": sha256(path), "stamp": before}


def damaged(folder: Path, files: Mapping[str, Any]) -> list[str]:
    """The names of the files that are missing or differ from their records.

    A file with the stamp of its record is not read. A copied file has another stamp; then its SHA-256 decides.

    Args:
        files: `file_record` by the file's name relative to `folder`.
    """
    return [name for name, record in files.items() if not _intact(folder / name, record)]


def _intact(path: Path, record: Any) -> bool:
    now = stamp(path)
    if now is None or not isinstance(record, Mapping) or now[0] != record.get("bytes"):
        return False
    try:
        return now == record.get("stamp") or sha256(path) == record.get("sha256")
    except OSError:
        return False


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with a JSON object in each line; a line ends at a line feed and nowhere else.

    A line that a crash has cut is left out, and so is a whole file that is not there.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def read_yaml(path: Path, kind: type) -> Any:
    """The content of a yaml file of this type, a list or a dict; None if it is missing, damaged or of another type."""
    try:
        content = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        json.dumps(content, default=str)  # refuses what contains itself
    except Exception:  # the parser raises many types
        return None
    return content if isinstance(content, kind) else None


def is_moved_aside(name: str) -> bool:
    """Is this the name of a run's folder that force=true moved aside, NAME.1?"""
    return re.search(r"-[0-9a-f]{12}\.[0-9]+$", name) is not None


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file by name, or that of an npy file under the name ""; None where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return arrays_in(stream)
    except OSError:
        return None


def arrays_in(stream: BinaryIO) -> dict[str, np.ndarray] | None:
    """The arrays of an open npz or npy file, as `read_arrays` returns them; None where it is neither.

    A damaged file raises almost anything inside numpy, zipfile and zlib (BadZipFile, zlib.error, NotImplementedError
    for unknown compressions, MemoryError for a shape that is too large, SyntaxError for a header, ...), and a damaged
    member comes back as bytes: all of this means that the file cannot be read.
    """
    try:
        content = np.load(stream, allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else dict(content)
    except Exception:
        return None
    return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else None


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content

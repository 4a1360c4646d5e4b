"""Files and folders that are replaced in one step, so that no reader sees a half-written one."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nlhf.io.sync import renamed_late, sync_file, sync_folder

TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]+\.tmp")  # the names of temporary files


class WriteError(OSError):
    """A file or folder cannot be written: a sentence with the remedy."""


def unusable(problem: OSError) -> str:
    """An operating system error about a user's path, as a sentence with the remedy."""
    if isinstance(problem, WriteError):
        return str(problem)
    return f"{problem.filename or 'a file'} cannot be used ({problem.strerror or problem}): give another path."


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system error in the block into a WriteError about `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as problem:
        raise WriteError(
            f"{path} cannot be written ({problem.strerror or problem}): make room or choose another place, and repeat "
            "the command; earlier files stay."
        ) from problem


@contextmanager
def replacing(path: Path, mode: str = "w", sync: bool = True) -> Iterator[IO[Any]]:
    """A new file that replaces `path` once it is complete and on the disk; if writing fails, `path` does not change.

    Within `late_syncs`, a file with a new name reaches the disk shortly afterwards.

    Args:
        sync: bring the new name to the disk, too. False for a file that is followed by a checkpoint or summary.json:
            syncing the folder for these brings all of its names to the disk, and their checksums detect a loss.
    """
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"  # also among hosts
    temporary = path.with_name(f".{path.name}.{unique}.tmp")
    try:
        text = "b" not in mode
        with writing(path):
            exclusive = mode.replace("w", "x")  # follows no link
            with temporary.open(exclusive, newline="" if text else None, encoding="utf-8" if text else None) as stream:
                yield stream
                stream.flush()
                if renamed_late(temporary, path):
                    return
                os.fsync(stream.fileno())
            temporary.replace(path)
            if sync:
                sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that replaces `path` once it is complete and on the disk; a link at `path` is not followed."""
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary, old = (path.with_name(f".{path.name}.{unique}{digit}.tmp") for digit in "01")
    try:
        with writing(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                sync_file(file)
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
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def remove_temporary(folder: Path, older_than: float = 0.0) -> None:
    """Remove half-written files of killed processes in a folder and below it, without following links.

    Args:
        older_than: smallest age in seconds of a file to remove; 0 only if no other process writes here.
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


def is_moved_aside(name: str) -> bool:
    """True if this is the name of a run's folder that force=true moved aside, NAME.1."""
    return re.search(r"-[0-9a-f]{12}\.[0-9]+$", name) is not None

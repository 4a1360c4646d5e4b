"""When files reach the disk: at once, or, for the new files of a sweep, together at short intervals.

A sweep of small runs would wait most of its time for the disk. Within `late_syncs` a new file takes its name first and
is synced later, with all other new files. A file that replaces a synced one is always synced before the replacement, so
a power failure loses at most the files that are younger than the interval, and never the older ones.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

INTERVAL = 0.4  # seconds between two syncs; while a sync lasts longer than this, writers wait for it


def sync_file(path: Path) -> None:
    """Bring a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that a renamed file survives a power failure."""
    try:
        sync_file(folder)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that sync no folder
            raise


class _LateFiles:
    """New files that have their names but may not be on the disk yet."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._oldest = 0.0  # time of the first of them
        self._changing, self._syncing = threading.Lock(), threading.Lock()
        self._problem: OSError | None = None

    def rename(self, temporary: Path, path: Path) -> bool:
        """Give an unsynced file its name if that replaces no synced file; returns False if it does.

        Raises: OSError, also of an earlier sync that failed.
        """
        if self._paths and time.monotonic() - self._oldest > INTERVAL:
            self.sync()
        with self._changing:
            if self._problem:
                raise self._problem
            if path not in self._paths and os.path.lexists(path):
                return False
            temporary.replace(path)
            if not self._paths:
                self._oldest = time.monotonic()
            self._paths.add(path)
        return True

    def sync(self) -> None:
        """Bring all of them to the disk.

        Raises: OSError.
        """
        with self._syncing:
            with self._changing:
                paths, self._paths = self._paths, set()
            try:
                if paths:
                    _sync_all(paths)
            except OSError as problem:
                self._problem = problem
                raise

    def sync_until(self, end: threading.Event) -> None:
        """Sync at every interval until an event; the next writer raises an error that occurs."""
        while not end.wait(INTERVAL):
            with suppress(OSError):
                self.sync()


_late: _LateFiles | None = None


@contextmanager
def late_syncs() -> Iterator[None]:
    """Sync new files of this process at intervals within the block, and the last ones at its end.

    Raises: OSError if the last files cannot be synced.
    """
    global _late
    _late, end = _LateFiles(), threading.Event()
    thread = threading.Thread(target=_late.sync_until, args=(end,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        late, _late = _late, None
        late.sync()


def renamed_late(temporary: Path, path: Path) -> bool:
    """True if the block of `late_syncs` has taken a new file over; False if it must be synced and renamed now."""
    return _late is not None and _late.rename(temporary, path)


def sync_late_files() -> None:
    """Bring the late files to the disk now, before a file is removed that could restore them."""
    if _late is not None:
        _late.sync()


def _sync_all(paths: set[Path]) -> None:
    """Sync files, their names and the names of their folders: whole file systems at once, or else file by file."""
    folders = {path.parent for path in paths}
    try:
        devices = {folder.stat().st_dev: folder for folder in folders if folder.exists()}
        if all(_sync_file_system(folder) for folder in devices.values()):
            return
    except FileNotFoundError:  # a folder that was moved meanwhile
        pass
    for path in sorted(paths):
        with suppress(FileNotFoundError):
            sync_file(path)
    for folder in sorted({*folders, *(folder.parent for folder in folders)}, reverse=True):
        with suppress(FileNotFoundError):
            sync_folder(folder)


def _sync_file_system(folder: Path) -> bool:
    """Sync the file system of a folder; False if the operating system cannot.

    For many small files Linux needs a tenth of the time that it needs to sync one file after the other.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
    return True

"""Files and folders that nlhf makes itself are never opened through a link.

A run folder may come from another person, and a link in it may point at any file of the user. Links in paths that the
user gives (runs_dir, study, --out) are followed: they may lead to a scratch disk. Links at or below the run folder are
not followed. A hard link looks like the file itself: `lock` and `run.log`, which are written in place, are first
replaced by new files; all other files are always replaced.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from functools import cache
from pathlib import Path

from nlhf.config import ConfigError
from nlhf.io.files import remove_temporary, replacing

DAY = 86400.0  # seconds
LONGEST_NAME, LONGEST_PATH = 255, 3900  # bytes that file systems allow, with room for file names in a path


def check_path(key: str, path: str) -> None:
    """Refuse a path of a config that file systems, terminals or YAML files refuse.

    Raises: ConfigError.
    """
    if bad := [character for character in path if unicodedata.category(character) in ("Cc", "Cs")]:
        visible = "".join("?" if character in bad else character for character in path)
        raise ConfigError(f"{key}={visible} holds the control character U+{ord(bad[0]):04X}, shown as ?: leave it out.")
    longest = max(path.split("/"), key=lambda name: len(name.encode()))
    if (size := len(longest.encode())) > LONGEST_NAME:
        raise ConfigError(f"{key}={longest[:20]}... has a name of {size} bytes: give at most {LONGEST_NAME}.")
    if (size := len(str(Path(path).absolute()).encode())) > LONGEST_PATH:
        raise ConfigError(f"{key}={path[:20]}... is a path of {size} bytes: give at most {LONGEST_PATH}.")


def open_file(path: Path, flags: int) -> int:
    """A descriptor of a regular file, with the flags of `os.open`.

    Raises: ConfigError for a link, a folder and anything else that is not a regular file; OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)  # a pipe must not block
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            refuse_other(path, "file")
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        refuse_other(path, "file")
    return descriptor


def open_log(path: Path) -> int:
    """A descriptor of a file to append to; a file with other hard links is copied first."""
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    if os.fstat(descriptor).st_nlink <= 1:
        return descriptor
    with os.fdopen(descriptor, "rb") as shared, replacing(path, "wb") as stream:
        stream.write(shared.read())
    return open_file(path, os.O_RDWR | os.O_APPEND)


def make_folder(path: Path) -> None:
    """Make a folder, and its parents; only the parents may be links.

    Raises: ConfigError for a link; OSError.
    """
    if path.is_symlink():
        refuse_other(path, "folder")
    path.mkdir(parents=True, exist_ok=True)


def make_shared_folder(path: Path) -> None:
    """`make_folder` for a folder that several processes write at once; half-written files of yesterday are removed.

    Raises: ConfigError for a link; OSError.
    """
    make_folder(path)
    _remove_old(path)


@cache
def _remove_old(path: Path) -> None:
    """Once in each process."""
    remove_temporary(path, DAY)


def refuse_links(folder: Path) -> None:
    """Refuse links to folders among the entries of a run folder, before anything is written.

    Raises: ConfigError; OSError.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and entry.is_dir():
                refuse_other(Path(entry.path), "folder")


def refuse_other(path: Path, expected: str) -> None:
    """Raise a ConfigError if `path` exists, which should be a file or folder that nlhf makes."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        kind = f"a symbolic link to {path.readlink()}, and links inside run folders are not followed"
    elif stat.S_ISDIR(mode):
        kind = "a folder"
    else:
        kind = "not a regular file"
    raise ConfigError(f"{path} is {kind}: remove it, a {expected} of that name is made when the command is repeated.")

"""Input files: the bytes that are hashed into a run's fingerprint are the bytes that are parsed.

A plug-in declares a config field as `path: InputFile | None`. The file is read on first use, once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import arrays_in
from nlhf.io.pickled import array_of_objects

EMBEDDED = "embedded:"  # prefix of the files that come with nlhf, below nlhf/games/data
SETTLED = 2_000_000_000  # nanoseconds after its last change from which a file's stamp identifies its content

Stamp = tuple[int, int, int, int, int]  # device, inode, size, modification time, change time


@dataclass(frozen=True, eq=False)
class InputFile:
    """A user's file, read once: its checksum and its parsers see the same bytes.

    Args:
        path: as the user wrote it; `embedded:NAME` for a table that comes with nlhf.
        key: the config key that names the file, for error messages.
    """

    path: str
    key: str = ""

    @classmethod
    def from_config(cls, path: str, key: str) -> InputFile:
        """The file that a config's text names; `nlhf.config.coerce` calls this."""
        return cls(path, key)

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """What error messages call the file: its key and path."""
        return f"{self.key}={self.path}" if self.key else self.path

    @property
    def location(self) -> Path:
        """Where the file is.

        Raises: ConfigError where there is no such file.
        """
        embedded = self.path.startswith(EMBEDDED)
        folder = Path(__file__).parents[1] / "games" / "data"
        file = folder / self.path.removeprefix(EMBEDDED) if embedded else Path(self.path).expanduser()
        if not file.is_file():
            names = sorted(table.name for table in folder.glob("*.csv"))
            remedy = f"embedded are {', '.join(names)}" if embedded else "check it"
            raise ConfigError(f"{self.name} is not a file: {remedy}.")
        return file

    @property
    def suffix(self) -> str:
        """The ending of the file's name, with its dot."""
        return Path(self.path).suffix

    @property
    def content(self) -> bytes:
        """The file's bytes.

        Raises: ConfigError for a file that does not exist, cannot be read, or changes while it is read.
        """
        return self._content.data

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal digits."""
        return self._content.sha256

    @property
    def identity(self) -> str:
        """What stands for the file in a fingerprint."""
        return self.sha256

    @cached_property
    def _content(self) -> _Content:
        try:
            with self.location.open("rb") as stream:
                content = _read(stream)
        except OSError as error:
            raise ConfigError(f"{self.name} cannot be read ({error.strerror}): check its permissions.") from error
        if content is None:
            raise ConfigError(f"{self.name} changed while it was read: repeat the command when it is complete.")
        return content

    def text(self) -> str:
        """The file as text.

        Raises: ConfigError for a file that is not UTF-8.
        """
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.name} is no UTF-8 text ({error.reason} at byte {error.start}): convert it."
            ) from error

    def lines(self) -> list[tuple[int, str]]:
        """The lines that are not blank, with their numbers from 1; a line ends at a line feed and nowhere else.

        Raises: ConfigError for a file that is not UTF-8.
        """
        return [(number, line) for number, line in enumerate(self.text().split("\n"), start=1) if line.strip()]

    def rows(self, separator: str = ",") -> list[tuple[int, list[str]]]:
        """The rows of a CSV file that are not empty, with their line numbers from 1.

        Args:
            separator: of cells; a space stands for any white space.

        Raises: ConfigError for a file that is no CSV in UTF-8.
        """
        try:
            text = self.content.decode("utf-8-sig")
            if blank := separator == " ":
                text = re.sub(r"[ \t]+(?=\r?$)", "", text, flags=re.MULTILINE).replace("\t", " ")
            lines = io.StringIO(text, newline="")
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=blank, strict=True)
            return [(reader.line_num, row) for row in reader if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{self.name} is no CSV in UTF-8 ({error}): save it as such.") from error

    def arrays(self) -> dict[str, np.ndarray] | None:
        """The arrays of an npz file by name, that of an npy file under the name ""; None for any other content.

        Raises: ConfigError for an array of Python objects.
        """
        arrays = arrays_in(io.BytesIO(self.content))
        if arrays is None and (name := array_of_objects(self.content)) is not None:
            array = f"the array `{name}`" if name else "an array"
            raise ConfigError(
                f"{self.name} holds {array} of Python objects, which could run code and is not read: save numbers with "
                "dtype=float and names with numpy.array(names, dtype=str)."
            )
        return arrays


class _Content:
    """The bytes of a file and their checksum."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sha256 = data, hashlib.sha256(data).hexdigest()


# Jobs of a sweep that name the same file share its content as long as one of them holds it
_contents: WeakValueDictionary[Stamp, _Content] = WeakValueDictionary()


def _read(stream: BinaryIO) -> _Content | None:
    """The content of an open file, from memory where a reader still holds it; None if it changes while it is read."""
    now, stamp = time.time_ns(), _stamp(stream)
    if (content := _contents.get(stamp)) is not None:
        return content
    content = _Content(stream.read())
    if _stamp(stream) != stamp:
        return None
    if _settled(stamp, now):
        _contents[stamp] = content
    return content


_digests: dict[Stamp, str] = {}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file that may be large, in hexadecimal digits; this process reads it again only after a change.

    Raises: OSError.
    """
    with path.open("rb") as stream:
        now, stamp = time.time_ns(), _stamp(stream)
        if (digest := _digests.get(stamp)) is None:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if _settled(stamp, now) and _stamp(stream) == stamp:
                _digests[stamp] = digest
        return digest


def _stamp(stream: BinaryIO) -> Stamp:
    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _settled(stamp: Stamp, now: int) -> bool:
    """True if the stamp identifies the content; two changes within one tick of the clock leave the same stamp."""
    return max(stamp[3:]) + SETTLED < now

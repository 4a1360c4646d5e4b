"""Input files: the bytes that are hashed into a run's fingerprint are the bytes that are parsed.

A plug-in declares a config field as `path: InputFile | None`. The file is read on first use, once.
"""

from __future__ import annotations

import csv
import io
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.arrays import array_of_objects, arrays_in
from nlhf.io.checksums import identity_of, sha256
from nlhf.io.compressed import decompressed
from nlhf.io.contents import Content, is_large_parquet, read

csv.field_size_limit(2**31 - 1)  # texts in cells may be long
EMBEDDED = "embedded:"  # prefix of the files that come with nlhf, below nlhf/games/data


class Input(ABC):
    """Something outside the config that a config's text names; a fingerprint covers its content."""

    key: str

    @abstractmethod
    def __init__(self, text: str, key: str = "") -> None: ...

    @classmethod
    def from_config(cls, text: str, key: str) -> Self:
        """The input that a config's text names; `nlhf.config.coerce` calls this."""
        return cls(text, key)

    @property
    @abstractmethod
    def identity(self) -> str:
        """What stands for the input in a fingerprint."""


@dataclass(frozen=True, eq=False)
class InputFile(Input):
    """A user's file, read once: its checksum and its parsers see the same bytes.

    Args:
        path: as the user wrote it; `embedded:NAME` for a table that comes with nlhf.
        key: the config key that names the file, for error messages.
    """

    path: str
    key: str = ""

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The file's key and path, for error messages."""
        return f"{self.key}={self.path}" if self.key else self.path

    @property
    def location(self) -> Path:
        """The file's path with `~` and `embedded:` expanded.

        Raises: ConfigError if it is not a file.
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
        return self._digest if self.is_streamed else self._content.sha256

    @property
    def is_streamed(self) -> bool:
        """True for a large parquet file, of which some columns are read: its bytes are not held in memory."""
        return not self.is_read and is_large_parquet(self.location)

    def check_unchanged(self) -> None:
        """Refuse a streamed file that has changed since the first call. Raises: ConfigError."""
        if identity_of(self.location.stat()) != self._first_identity:
            raise self._changed

    @cached_property
    def _first_identity(self) -> tuple[int, ...]:
        return identity_of(self.location.stat())

    @property
    def identity(self) -> str:
        """The SHA-256."""
        return self.sha256

    @property
    def is_read(self) -> bool:
        """True if the file's bytes are in memory."""
        return "_content" in self.__dict__

    @cached_property
    def decompressed(self) -> bytes:
        """The file's bytes, decompressed if it is a gzip file. Raises: ConfigError, also as `content`."""
        return decompressed(self.content, self.name)

    @cached_property
    def _content(self) -> Content:
        try:
            with self.location.open("rb") as stream:
                content = read(stream)
        except OSError as error:
            raise ConfigError(f"{self.name} cannot be read ({error.strerror}): check its permissions.") from error
        if content is None:
            raise self._changed
        return content

    @cached_property
    def _digest(self) -> str:
        try:
            self.check_unchanged()
            digest = sha256(self.location)
            self.check_unchanged()
        except OSError as error:
            raise ConfigError(f"{self.name} cannot be read ({error.strerror}): check its permissions.") from error
        return digest

    @property
    def _changed(self) -> ConfigError:
        return ConfigError(f"{self.name} changed while it was read: repeat the command when it is complete.")

    def text(self) -> str:
        """The file as text. Raises: ConfigError for a file that is not UTF-8."""
        try:
            return self.decompressed.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.name} is not UTF-8 text ({error.reason} at byte {error.start}): convert it."
            ) from error

    def lines(self) -> list[tuple[int, str]]:
        """The lines that are not blank, with their numbers from 1; only a line feed ends a line.

        Raises: ConfigError for a file that is not UTF-8.
        """
        return [(number, line) for number, line in enumerate(self.text().split("\n"), start=1) if line.strip()]

    def rows(self, separator: str = ",") -> list[tuple[int, list[str]]]:
        """The rows of a CSV file that are not empty, with their line numbers from 1; " " separates by any white space.

        Raises: ConfigError for a file that is not CSV in UTF-8.
        """
        try:
            text = self.decompressed.decode("utf-8-sig")
            if blank := separator == " ":
                text = re.sub(r"[ \t]+(?=\r?$)", "", text, flags=re.MULTILINE).replace("\t", " ")
            lines = io.StringIO(text, newline="")
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=blank, strict=True)
            return [(reader.line_num, row) for row in reader if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{self.name} is not CSV in UTF-8 ({error}): save it as such.") from error

    def arrays(self) -> dict[str, np.ndarray] | None:
        """The arrays of an npz file by name, or the array of an npy file under the name ""; None for other content.

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

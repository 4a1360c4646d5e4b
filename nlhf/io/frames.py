"""Tables from any container: CSV, JSON, jsonl and parquet, each also compressed with gzip.

A column of objects is read as one column for each of their entries, named `object.entry`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nlhf.io.tables import stripped


@dataclass(frozen=True, eq=False)
class Labels:
    """A column of texts.

    Args:
        codes: the number of the text of every row, (n).
        decode: returns the distinct texts in the order of their numbers.
    """

    codes: np.ndarray
    decode: Callable[[], list[str]]

    @cached_property
    def texts(self) -> list[str]:
        """The distinct texts, without white space around them; an empty cell is an empty text."""
        return self.decode()

    @classmethod
    def of(cls, cells: Iterable[str]) -> Labels:
        """The column with these cells."""
        numbers: dict[str, int] = {}
        codes = np.fromiter((numbers.setdefault(cell, len(numbers)) for cell in cells), np.int64)
        return cls(codes, lambda: list(numbers))

    @property
    def cells(self) -> list[str]:
        """The text of every row."""
        texts = np.array([*self.texts, ""], dtype=object)
        return list(texts[self.codes])

    def first_row(self, code: int) -> int | None:
        """The first row with this text, by its number; None if no row has it."""
        rows = self.codes == code
        return int(rows.argmax()) if rows.any() else None

    def at(self, rows: np.ndarray) -> Labels:
        """Some of the rows, by number or by mask."""
        return replace(self, codes=self.codes[rows])


class Frame(ABC):
    """The columns of a file.

    Attributes:
        source: the key and path of the file, for messages.
        columns: their names.
        lines: the line or the number of every row.
    """

    source: str
    columns: tuple[str, ...]
    lines: Sequence[int]

    @abstractmethod
    def labels(self, name: str) -> Labels:
        """The cells of a column as texts."""

    @abstractmethod
    def values(self, name: str) -> Sequence[Any]:
        """The cells of a column as they are; None for a missing one."""

    @abstractmethod
    def plain(self, name: str) -> bool:
        """True if the cells of a column are neither lists nor objects."""

    def prefetch(self, names: Iterable[str]) -> None:  # noqa: B027 (a hint)
        """Read these columns at once, where reading them one by one takes longer."""

    @abstractmethod
    def renamed(self, names: Mapping[str, str]) -> Frame:
        """The frame with other names of columns, new -> old."""

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> str:
        """A row's name in messages."""
        return f"{self.source}: row {self.lines[index]}"


class RecordFrame(Frame):
    """Columns as lists of values."""

    def __init__(self, source: str, columns: Mapping[str, Sequence[Any]], lines: Sequence[int]) -> None:
        self.source, self.lines, self._values = source, lines, columns
        self.columns = tuple(columns)
        self._labels: dict[str, Labels] = {}

    @classmethod
    def of_objects(cls, source: str, objects: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> RecordFrame:
        """The frame of JSON objects; an entry that an object lacks is None."""
        columns: dict[str, list[Any]] = {}
        for row, entry in enumerate(objects):
            for name, value in flat(entry):
                columns.setdefault(name, [None] * len(objects))[row] = value
        return cls(source, columns, lines)

    def labels(self, name: str) -> Labels:
        if name not in self._labels:
            distinct = Labels.of(map(cell_text, self._values[name]))
            texts = stripped(distinct.texts, self.source)
            merged = Labels.of(texts)  # texts that differ in white space only
            self._labels[name] = Labels(merged.codes[distinct.codes], merged.decode)
        return self._labels[name]

    def values(self, name: str) -> Sequence[Any]:
        return self._values[name]

    def plain(self, name: str) -> bool:
        return not any(isinstance(value, list | dict) for value in self._values[name])

    def renamed(self, names: Mapping[str, str]) -> RecordFrame:
        return RecordFrame(self.source, {new: self._values[old] for new, old in names.items()}, self.lines)


def flat(entry: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The entries of an object and of the objects in it, by names such as `object.entry`.

    Example:
        >>> list(flat({"a": 1, "b": {"c": 2, "d": [3]}}))
        [('a', 1), ('b.c', 2), ('b.d', [3])]
    """
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def cell_text(value: Any) -> str:
    """A cell as a text: the same for a value in JSON, in parquet and in a CSV.

    Example:
        >>> [cell_text(value) for value in (None, True, 1, 1.0, 0.5, "x", ["a"])]
        ['', 'true', '1', '1', '0.5', 'x', "['a']"]
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Tables with named columns: CSV files whose first row names the columns. Names are read without white space around.

Cells are separated by commas, or by semicolons or tabs where the first row holds no comma.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile

log = logging.getLogger(__name__)

Record = dict[str, str]  # a row's cells by column


@dataclass(frozen=True)
class NamedRows:
    """A table.

    Args:
        columns: their names, all different.
        records: every row that is not blank, with its line number from 1.
    """

    columns: tuple[str, ...]
    records: list[tuple[int, Record]]


_tables: WeakKeyDictionary[InputFile, NamedRows] = WeakKeyDictionary()  # so that each file causes at most one warning


def named_rows(file: InputFile) -> NamedRows:
    """The table in a CSV file, without the white space around its cells, which is logged.

    Raises: ConfigError for two columns of one name, and for a row of another length than the first.
    """
    if file not in _tables:
        _tables[file] = _read(file)
    return _tables[file]


def _read(file: InputFile) -> NamedRows:
    header, rows = cells_of(file)
    texts = iter(stripped([*header, *(cell for _, row in rows for cell in row)], file.name))
    columns = tuple(islice(texts, len(header)))
    return NamedRows(columns, [(line, dict(zip(columns, texts, strict=False))) for line, _ in rows])


def columns_of(file: InputFile) -> list[str]:
    """The columns that the first row of a CSV file names, without reading the other rows; none for a broken file."""
    lines = csv.reader(io.StringIO(file.text(), newline=""), delimiter=separator(file))
    try:
        return next(([cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)), [])
    except csv.Error:
        return []


def cells_of(file: InputFile) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The first row of a CSV file, and the others with their line numbers; cells keep their white space.

    Raises: ConfigError for two columns of one name, and for a row of another length than the first.
    """
    rows = [(line, row) for line, row in file.rows(separator(file)) if any(cell.strip() for cell in row)]
    header = rows[0][1] if rows else []
    columns = [name.strip() for name in header]
    check_unique(columns, "columns", file.name)
    for line, row in rows[1:]:
        if len(row) != len(columns):
            lacks = f"lacks {columns[len(row)]}" if len(row) < len(columns) else f"has {len(row)} cells"
            raise ConfigError(f"{file.name}: row {line} {lacks}: mend or remove it.")
    return header, rows[1:]


def separator(file: InputFile) -> str:
    """The separator of a CSV file's cells: a comma, or a semicolon or tab where the header holds no comma."""
    header = file.decompressed.lstrip().partition(b"\n")[0]
    return next((separator for separator in (",", ";", "\t") if separator.encode() in header), ",")


def stripped(names: Sequence[str], source: str) -> tuple[str, ...]:
    """Names without white space around them. A warning counts the changed names, and names those that become equal."""
    changed = [name for name in names if name != name.strip() and number(name) is None]
    if changed:
        variants: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            variants.setdefault(name.strip(), []).append(name)
        equal = [spellings for spellings in variants.values() if len(spellings) > 1 and number(spellings[0]) is None]
        same = f"; {' and '.join(map(repr, equal[0]))} are now one name" if equal else ""
        same += f", as are {len(equal) - 1} others" if len(equal) > 1 else ""
        cells = "1 cell" if len(changed) == 1 else f"{len(changed)} cells"
        log.warning("%s: white space was removed around %s, first around %r%s", source, cells, changed[0], same)
    return tuple(name.strip() for name in names)


def check_unique(names: Sequence[str], what: str, source: str) -> None:
    """Refuse two equal names, by their positions; `what` is in the plural.

    Raises: ConfigError.
    """
    first: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if name in first:
            raise ConfigError(
                f"{source}: {what} {first[name]} and {position} are both named {name!r}: rename or remove one."
            )
        first[name] = position


def number(cell: str) -> float | None:
    """The number that a cell holds, or None."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names for a message, at most `most` of them."""
    remainder = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + remainder


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, for `object_pairs_hook`.

    Raises: ValueError for a key that it has twice; JSON would use the last one.
    """
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in entry if keys.count(key) > 1)
        raise ValueError(f"it has the key {twice} twice")
    return entry

"""A square table of numbers in a text file, with or without names, as spreadsheets, pandas, NumPy and R write it.

Cells are separated by commas, semicolons, tabs or white space; without comma separators, 0,5 means 0.5. Names are in
the first row, the first column, or a comment before the numbers (`# a b c`, as written by numpy.savetxt).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.io.tables import check_unique, listed, number, stripped

SEPARATORS = (",", ";", "\t", " ")
COMMENT = "# "
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")

Row = tuple[int, list[str]]  # line number and cells


def read_table(file: InputFile) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers (n, n) of a text file, and the names of the items, () if it has none.

    Raises: ConfigError for a file without numbers, rows of different lengths, cells that are not numbers, and different
    names of rows and columns.
    """
    lines = file.lines()
    comments = {line: text for line, text in lines if f"{text.strip()} ".startswith(COMMENT)}
    separator = _separator([text for line, text in lines if line not in comments][-1:])
    rows = [(line, row) for line, row in file.rows(separator) if any(map(str.strip, row)) and line not in comments]
    if not rows:
        raise ConfigError(f"game.path={file} is empty: give a square table of probabilities.")
    header, body = (rows[0][1], rows[1:]) if _is_header(rows) else ([], rows)
    width = len(body[0][1]) if body else 0
    for line, row in body:
        if len(row) != width:
            raise ConfigError(f"game.path={file}: row {line} has {len(row)} cells, not {width}: mend it.")
    if labels := list(stripped(_labels(header, body, separator), file.name)):
        header, body = header[1:] if len(header) == width else header, [(line, row[1:]) for line, row in body]
    table = np.array([[_value(cell, separator, line, file) for cell in row] for line, row in body])
    names = list(stripped(header, file.name)) or _commented(comments.values(), len(table)) or labels
    if body and header and len(header) != table.shape[1]:
        raise ConfigError(f"game.path={file} names {len(header)} columns and has {table.shape[1]}: name each.")
    if labels and labels != names and (set(labels) == set(names) or not _are_counts(labels)):
        table = table[_order(labels, names, file)]
    return table, tuple(names)


def _separator(lines: Sequence[str]) -> str:
    """The separator with which the first line has the most numbers; a comma without lines."""

    def merit(separator: str) -> tuple[float, int]:
        cells = _cells(lines[0].strip(), separator)
        numbers = sum(_number(cell, separator) is not None for cell in cells)
        return numbers / max(len(cells), 1), numbers

    return max(SEPARATORS, key=merit) if lines else ","


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def _number(cell: str, separator: str) -> float | None:
    """The number in a cell; a comma is a decimal point unless commas separate cells."""
    if separator != "," and DECIMAL_COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    return number(cell)


def _value(cell: str, separator: str, line: int, file: InputFile) -> float:
    if (value := _number(cell, separator)) is None:
        raise ConfigError(f"game.path={file}: row {line} has {cell!r}, not a number: mend it.")
    return value


def _is_header(rows: Sequence[Row]) -> bool:
    """True if the first row names the columns."""
    first = rows[0][1]
    names = [cell for cell in first if number(cell) is None and not DECIMAL_COMMA.fullmatch(cell.strip())]
    if not names:  # numbers name columns if they count them or lie outside [0, 1], such as years
        cells = [cell.strip() for cell in first]
        values = [_number(cell, ";") or 0.0 for cell in cells]
        are_names = len(set(cells)) == len(cells) and not all(0 <= value <= 1 for value in values)
        return len(rows) == len(first) + 1 and (_are_counts(cells) or are_names)
    labelled = names == first[:1] and first[0].strip() != "" and len(rows) == len(first) - 1
    return not labelled


def _labels(header: Sequence[str], body: Sequence[Row], separator: str) -> list[str]:
    """The first column if it names the rows, else an empty list."""
    if not body:
        return []
    width, first = len(body[0][1]), [row[0].strip() for _, row in body]
    columns = [name.strip() for name in header][-(width - 1) :]
    apart = width == len(body) + 1 or (bool(header) and len(header) in (width, width - 1) and header[0] == "")
    texts = all(_number(label, separator) is None for label in first)
    if (texts and width > 2) or ((apart or len(header) == width - 1) and (first == columns or _are_counts(first))):
        return first
    return []


def _are_counts(labels: Sequence[str]) -> bool:
    """True for 0, 1, 2 or 1, 2, 3, which pandas and R write for rows without names."""
    return any(list(labels) == [str(start + row) for row in range(len(labels))] for start in (0, 1))


def _commented(comments: Iterable[str], count: int) -> list[str]:
    """The names in a comment that has one name per item."""
    for text in (comment.strip().removeprefix("#").strip() for comment in comments):
        separator = next((separator for separator in SEPARATORS if separator in text), " ")
        names = [name.strip() for name in _cells(text, separator)]
        if len(names) == count > 1 and all(names):
            return names
    return []


def _order(labels: Sequence[str], names: Sequence[str], file: InputFile) -> list[int]:
    """The rows in the order of the columns, by their names."""
    check_unique(labels, "row names", file.name)
    if different := [label for label in labels if label not in names] or [name for name in names if name not in labels]:
        raise ConfigError(
            f"{file.name} has rows and columns of different names, {listed(different)} among them: name both alike."
        )
    return [labels.index(name) for name in names]

"""Filters of rows, column -> value or list of values: numbers match by value, texts by text, `true` matches `True`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite

from nlhf.config import ConfigError
from nlhf.io.tables import NamedRows, Record, listed, number
from nlhf.messages import shown

Value = str | int | float | bool


def parsed(word: str) -> Value:
    """A value of the command line: a number or a boolean if it can be read as one, else a text."""
    if word.strip().casefold() in ("true", "false"):
        return word.strip().casefold() == "true"
    value = number(word)
    if value is None or not isfinite(value):
        return word
    return int(Decimal(word.strip())) if value.is_integer() else value


def select(rows: NamedRows, where: Mapping[str, Value | list[Value]], source: str) -> list[tuple[int, Record]]:
    """The rows that pass all filters.

    Args:
        rows: of a file with all these columns.
        where: column -> value, or list of values, that a row must have.
        source: name of the file in messages.

    Raises: ConfigError for a value that no row has, and if no row is left.
    """
    chosen, counts = rows.records, []
    for column, values in where.items():
        allowed = allowed_cells(dict.fromkeys(record[column] for _, record in rows.records), column, values, source)
        counts.append(f"{column}: {sum(record[column] in allowed for _, record in rows.records)} rows")
        chosen = [(line, record) for line, record in chosen if record[column] in allowed]
    if where and not chosen:
        raise ConfigError(f"{source} has no row that passes all filters ({', '.join(counts)}): loosen game.where.")
    return chosen


def allowed_cells(cells: Iterable[str], column: str, values: Value | list[Value], source: str) -> set[str]:
    """The distinct cells of a column that have one of some values.

    Raises: ConfigError for a value that no cell has.
    """
    distinct, allowed = list(cells), set[str]()
    for value in values if isinstance(values, list) else [values]:
        matched = {cell for cell in distinct if matches(cell, value)}
        if not matched:
            available = listed([cell or "empty cells" for cell in distinct]) or "no rows"
            raise ConfigError(
                f"{source} has no row with {column}={shown(value)}: loosen game.where, the column has {available}."
            )
        allowed |= matched
    return allowed


def matches(cell: str, value: Value) -> bool:
    """True if a cell has this value: 1 matches 1.0 and 01, true matches True, a text matches only itself."""
    if isinstance(value, bool):
        return cell.casefold() == str(value).casefold()
    if isinstance(value, str):
        return cell == value.strip()
    if (numeric := number(cell)) is None:
        return False
    return Decimal(cell.strip()) == value if isinstance(value, int) else numeric == value

"""Filters of rows, column -> value or list of values: numbers match by value, texts by text, `true` matches `True`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.frames import Labels
from nlhf.io.tables import listed, number
from nlhf.messages import shown

Value = str | int | float | bool
Where = Mapping[str, Value | list[Value]]


def parsed(word: str) -> Value:
    """A value of the command line: a number or a boolean if it can be read as one, else a text."""
    if word.strip().casefold() in ("true", "false"):
        return word.strip().casefold() == "true"
    value = number(word)
    if value is None or not isfinite(value):
        return word
    return int(Decimal(word.strip())) if value.is_integer() else value


def passing(columns: Mapping[str, Labels], where: Where, source: str, key: str = "game.where") -> np.ndarray:
    """True for each row that passes all filters, (n).

    Args:
        columns: those that `where` names, and at least one of the rows' columns if it names none.
        where: column -> value, or list of values, that a row must have.
        source: name of the file in messages.
        key: the option that holds `where`, in messages.

    Raises: ConfigError for a value that no row has, and if no row is left.
    """
    counts, rows = [], np.ones(len(next(iter(columns.values())).codes), dtype=bool)
    for name, values in where.items():
        labels = columns[name]
        texts = [*labels.texts, ""]
        allowed = _allowed([texts[code] for code in np.unique(labels.codes)], name, values, source, key)
        mask = np.array([text in allowed for text in texts])[labels.codes]
        counts.append(f"{name}: {int(mask.sum())} rows")
        rows &= mask
    if where and not rows.any():
        raise ConfigError(f"{source} has no row that passes all filters ({', '.join(counts)}): loosen {key}.")
    return rows


def _allowed(cells: Iterable[str], column: str, values: Value | list[Value], source: str, key: str) -> set[str]:
    """The distinct cells of a column that have one of some values.

    Raises: ConfigError for a value that no cell has.
    """
    distinct, allowed = list(cells), set[str]()
    for value in values if isinstance(values, list) else [values]:
        matched = {cell for cell in distinct if matches(cell, value)}
        if not matched:
            available = listed([cell or "empty cells" for cell in distinct]) or "no rows"
            raise ConfigError(
                f"{source} has no row with {column}={shown(value)}: loosen {key}, the column has {available}."
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

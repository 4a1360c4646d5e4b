"""Columns of a votes file that look like counts but are not read: refused unless they agree with the votes."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.frames import Frame
from nlhf.io.tables import number

# Names of columns with ties, weights or totals, in lower case and without punctuation
TIE_NAMES = frozenset(
    {
        "tie",
        "ties",
        "tied",
        "tiecount",
        "draw",
        "draws",
        "drawn",
        "equal",
        "bothbad",
        "bothgood",
        "neither",
        "tiebothbad",
        "tiesbothbad",
        "winstie",
        "winsties",
        "winstied",
        "winsdraw",
        "winsdraws",
        "winnertie",
        "winnertied",
        "nties",
        "numties",
        "ndraws",
        "numdraws",
    }
)
WEIGHT_NAMES = frozenset({"weight", "weights", "multiplicity", "frequency"})
TOTAL_NAMES = frozenset(
    {
        "total",
        "totals",
        "votes",
        "nvotes",
        "numvotes",
        "totalvotes",
        "count",
        "counts",
        "games",
        "ngames",
        "comparisons",
    }
)


@lru_cache(maxsize=4096)
def count_kind(column: str) -> str | None:
    """The kind of count in a column of this name, `ties`, `total` or `weight`; None for other columns."""
    name = re.sub(r"[\W_]", "", column).casefold()
    kinds = {"ties": TIE_NAMES, "total": TOTAL_NAMES, "weight": WEIGHT_NAMES}
    return next((kind for kind, names in kinds.items() if name in names), None)


def check_unread(cells: Mapping[str, Any], read: Container[str], ties: float, total: float, source: str) -> None:
    """Refuse a count that is not read, unless it agrees with the counts that are read.

    Args:
        cells: of a row by column.
        read: the columns that are read.
        ties, total: numbers of ties and votes of the row.
        source: names the row.

    Raises: ConfigError.
    """
    for column, cell in cells.items():
        if column in read or cell in ("", None) or (kind := count_kind(column)) is None:
            continue
        due = {"ties": ties, "total": total, "weight": 1.0}[kind]
        if not _agrees(cell, due):
            raise ConfigError(_refusal(source, column, cell, due))


def check_unread_columns(frame: Frame, names: Iterable[str], used: np.ndarray, ties: np.ndarray) -> None:
    """Refuse a count that is not read in a file of single votes, as `check_unread`.

    Args:
        frame: the file.
        names: its columns that are not read.
        used: the rows that are used, (n).
        ties: 1 for ties, (n).

    Raises: ConfigError.
    """
    for name in names:
        if name not in frame.columns or (kind := count_kind(name)) is None:
            continue
        due = np.where(used, ties if kind == "ties" else 1.0, np.nan)
        labels = frame.labels(name)
        for code, text in enumerate(labels.texts):
            for value in np.unique(due[labels.codes == code]) if text else ():
                if not np.isnan(value) and not _agrees(text, value):
                    row = int(((labels.codes == code) & (due == value)).argmax())
                    raise ConfigError(_refusal(frame.row(row), name, text, value))


def _agrees(cell: Any, due: float) -> bool:
    value = {"true": 1.0, "false": 0.0}.get(str(cell).casefold(), number(str(cell)))
    return value is not None and math.isclose(value, due, rel_tol=1e-9)


def _refusal(source: str, column: str, cell: Any, due: float) -> str:
    return (
        f"{source} has {column}={cell}, which is not read, but the other columns give {due:g}: count ties in "
        "`ties`, or rename the column."
    )

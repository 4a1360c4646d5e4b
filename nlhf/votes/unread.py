"""Columns of a votes file that look like counts but are not read: refused unless they agree with the votes."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any

from nlhf.config import ConfigError
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
        value = {"true": 1.0, "false": 0.0}.get(str(cell).casefold(), number(str(cell)))
        if value is None or not math.isclose(value, due, rel_tol=1e-9):
            raise ConfigError(
                f"{source} has {column}={cell}, which is not read, but the other columns give {due:g}: count ties in "
                "`ties`, or rename the column."
            )

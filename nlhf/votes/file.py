"""Votes from a CSV: each row has a pair of items and its votes, `item_a,item_b,wins_a,wins_b`, optionally `ties`.

A tie counts as half a win for each item, written as 0.5 and 0.5 or counted in `ties` in addition to the wins. Other
columns may be used as filters or contexts. A column that looks like a count but is not read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from nlhf.config import ConfigError
from nlhf.io.frames import Labels
from nlhf.io.inputs import InputFile
from nlhf.io.tables import NamedRows, Record, listed, number
from nlhf.votes.unread import check_unread
from nlhf.votes.where import Where, passing

COLUMNS = ("item_a", "item_b", "wins_a", "wins_b")
TIES = "ties"
MOST_VOTES = 2.0**53  # up to this number every count is exact in float64


class Vote(NamedTuple):
    """One row of a file of votes.

    Args:
        cells: of the row by column, without `ties`.
        a, b: the items.
        wins_a, wins_b: wins of each item, with ties as half wins.
        ties: number of ties.
    """

    cells: Record
    a: str
    b: str
    wins_a: float
    wins_b: float
    ties: float


def read_rows(
    file: InputFile,
    rows: NamedRows,
    context: Sequence[str] = (),
    where: Where | None = None,
    drop: Sequence[str] = (),
    cluster: Sequence[str] = (),
) -> list[Vote]:
    """Every row that passes the filters and has no dropped item.

    Raises: ConfigError for an invalid column, row, filter or item.
    """
    used = {"game.path": COLUMNS, "game.context": context, "game.where": where or {}, "game.cluster": cluster}
    _check_columns(file, rows.columns, used)
    if not rows.records:
        raise ConfigError(
            f"{file.name} has a header and no votes: add a row for every pair of items that was compared."
        )
    read = {*COLUMNS, TIES, *context, *cluster, *(where or {})}
    votes, items, dropped = [], set(), {item.strip() for item in drop}
    for line, record in _passing(rows, where or {}, file.name):
        source = f"{file.name}: row {line}"
        vote = _vote(record, source)
        check_unread(record, read, vote.ties, vote.wins_a + vote.wins_b, source)
        items |= {vote.a, vote.b}
        if not dropped & {vote.a, vote.b}:
            votes.append(vote)
    if unknown := sorted(dropped - items):
        raise ConfigError(f"game.drop={unknown[0]} is not an item of {file}: it has {listed(sorted(items), 50)}.")
    check_total(votes, file, bool(where or drop))
    return votes


def _passing(rows: NamedRows, where: Where, source: str) -> Iterable[tuple[int, Record]]:
    """The rows that pass all filters."""
    if not where:
        return rows.records
    columns = {name: Labels.of(record[name] for _, record in rows.records) for name in where}
    return compress(rows.records, passing(columns, where, source))


def check_total(votes: Sequence[Vote], file: InputFile, filtered: bool) -> None:
    """Refuse a file of which no vote is left, or more than can be counted; `filtered` if some rows are left out.

    Raises: ConfigError.
    """
    if not votes:
        raise ConfigError(f"{file.name} has no vote left: loosen game.where or game.drop.")
    total = sum(vote.wins_a + vote.wins_b for vote in votes)
    if total == 0:
        remaining = " that is left" if filtered else ""
        raise ConfigError(
            f"{file.name} counts no vote, as wins_a and wins_b are 0 in every row{remaining}: correct them."
        )
    if total > MOST_VOTES:
        raise ConfigError(f"{file.name} has {total:g} votes, and counts are exact up to 2^53 only: give smaller ones.")


def _check_columns(file: InputFile, columns: Sequence[str], used: Mapping[str, Iterable[str]]) -> None:
    """Refuse a file that lacks a column; `used` has the columns by the key that names them."""
    for key, names in used.items():
        for name in names:
            if name not in columns:
                start = f"{file.name} lacks" if key == "game.path" else f"{key}={name}: {file} lacks"
                printed = listed([column if column.isprintable() else ascii(column) for column in columns], 50)
                raise ConfigError(f"{start} the column {name}: it has {printed or 'none'}{_remedy(key)}.")


def _remedy(key: str) -> str:
    return ", name yours in game.columns, or give a format of docs/formats.md" if key == "game.path" else ""


def _vote(record: Record, source: str) -> Vote:
    a, b = record["item_a"], record["item_b"]
    if not a or not b or a == b:
        raise ConfigError(f"{source} compares {a!r} with {b!r}: name two different items.")
    wins_a, wins_b = (_count(record, name, source) for name in ("wins_a", "wins_b"))
    half = wins_a % 1 == wins_b % 1 == 0.5
    ties = _count(record, TIES, source) if TIES in record else 0.0
    if half and ties:
        raise ConfigError(
            f"{source} has ties={record[TIES]} and half wins: count a tie in `ties` or as two half wins, not both."
        )
    cells = {name: cell for name, cell in record.items() if name != TIES} if TIES in record else record
    return Vote(cells, a, b, wins_a + ties / 2, wins_b + ties / 2, ties + half)


def _count(record: Record, name: str, source: str) -> float:
    count = number(record[name])
    if count is None:
        remedy = "write a decimal point" if number(record[name].replace(",", ".")) is not None else "mend or remove it"
        raise ConfigError(f"{source} has {name}={record[name]!r}, not a number: {remedy}.")
    if not 0 <= count < float("inf"):
        raise ConfigError(f"{source} has {name}={record[name]}: counts are finite and not negative.")
    if count > MOST_VOTES:
        raise ConfigError(f"{source} has {name}={record[name]}: counts are exact up to 2^53 only, give a smaller one.")
    return count


def context_name(cells: Sequence[str]) -> str:
    r"""The name of a context from the cells of its columns; different cells have different names.

    Several cells are joined by `/`; a backslash escapes `/` and backslash within a cell. An empty cell is `(empty)`.

    Example:
        >>> context_name(["a", "b/c"]), context_name(["a/b", "c"]), context_name([""]), context_name([])
        ('a/b\\/c', 'a\\/b/c', '(empty)', 'all')
    """
    if not cells:
        return "all"
    if len(cells) > 1:
        cells = [re.sub(r"[\\/]", r"\\\g<0>", cell) for cell in cells]
    return "/".join("\\" + cell if cell.lstrip("\\") == "(empty)" else cell or "(empty)" for cell in cells)

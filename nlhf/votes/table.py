"""Votes as columns: what the readers of all formats return, without an object for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from nlhf.io.frames import Labels
from nlhf.votes.file import Vote

MOST_CELLS = 2**22  # of a table that is summed without sorting


class Unused(NamedTuple):
    """Rows that are not used for one reason: their number, and the line of the first."""

    rows: int
    first: int


@dataclass(frozen=True)
class Report:
    """What was read of a file, and what was not.

    Args:
        source: the key and path of the file.
        title: of its format.
        rows: their number in the file.
        unused: the rows that are not used, by reason.
        notes: clauses about the file for the user.
        unit: what a row is, in the plural.
    """

    source: str
    title: str
    rows: int
    unused: Mapping[str, Unused] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unit: str = "rows"

    @property
    def is_complete(self) -> bool:
        """True if every row is used as it is."""
        return not self.unused and not self.notes

    @property
    def sentence(self) -> str:
        """The report in one line."""
        number = sum(count for count, _ in self.unused.values())
        reasons = ", ".join(
            f"{count:,} {reason} (the first in row {first})" for reason, (count, first) in self.unused.items()
        )
        used = f"{number:,} of {self.rows:,} {self.unit} are not used: {reasons}"
        if not number:
            used = f"{self.rows:,} {self.unit}, all used"
        return f"{self.source} ({self.title}): {'; '.join((used, *self.notes))}"

    @property
    def entries(self) -> dict[str, Any]:
        """The report as JSON."""
        unused = {reason: count._asdict() for reason, count in self.unused.items()}
        counts = {"rows": self.rows, "unit": self.unit, "unused": unused}
        return {"file": self.source, "format": self.title, **counts, "notes": list(self.notes)}


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Votes, a row each.

    Args:
        items: names.
        a, b: numbers of the items of every row, (n).
        wins_a, wins_b, ties: as of `Vote`, (n).
        columns: further columns.
        rows: the number of each row in the frame of the file, (n).
    """

    items: list[str]
    a: np.ndarray
    b: np.ndarray
    wins_a: np.ndarray
    wins_b: np.ndarray
    ties: np.ndarray
    columns: Mapping[str, Labels]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def at(self, rows: np.ndarray) -> VoteTable:
        """Some of the rows, by number or by mask."""
        arrays = {name: getattr(self, name)[rows] for name in ("a", "b", "wins_a", "wins_b", "ties", "rows")}
        return replace(self, **arrays, columns={name: labels.at(rows) for name, labels in self.columns.items()})

    @property
    def soft(self) -> bool:
        """True if some rows are probabilities, not votes and ties."""
        return any(bool((np.rint(2 * wins) != 2 * wins).any()) for wins in (self.wins_a, self.wins_b))

    def pooled(self) -> VoteTable:
        """Rows with the same items and cells added up; rows that are probabilities stay apart."""
        if self.soft or not len(self):
            return self
        key, size = self.a.astype(np.int64) * len(self.items) + self.b, len(self.items) ** 2
        for labels in self.columns.values():
            if size > MOST_CELLS:
                distinct, key = np.unique(key, return_inverse=True)
                size = len(distinct)
            key, size = key * (len(labels.texts) + 1) + labels.codes, size * (len(labels.texts) + 1)
        if size > MOST_CELLS:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        first = np.zeros(size, dtype=np.int64)
        first[key[::-1]] = np.arange(len(key))[::-1]  # the first row of each key
        present = np.flatnonzero(np.bincount(key, minlength=size))
        wins_a, wins_b, ties = (
            np.bincount(key, counts, size)[present] for counts in (self.wins_a, self.wins_b, self.ties)
        )
        return replace(self.at(first[present]), wins_a=wins_a, wins_b=wins_b, ties=ties)

    def votes(self) -> list[Vote]:
        """The rows as objects."""
        columns = {name: labels.cells for name, labels in self.columns.items()}
        cells = zip(*columns.values(), strict=True) if columns else ((),) * len(self)
        names = np.array(self.items, dtype=object)
        counts = (self.wins_a.tolist(), self.wins_b.tolist(), self.ties.tolist())
        records = [dict(zip(columns, row, strict=True)) for row in cells]
        return list(map(Vote, records, names[self.a].tolist(), names[self.b].tolist(), *counts))

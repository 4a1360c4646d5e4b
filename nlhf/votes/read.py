"""Reads the votes of a file in any format, with filters."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.io.tables import listed
from nlhf.votes.copies import warn_of_copies
from nlhf.votes.file import Vote, check_total, read_rows
from nlhf.votes.formats.base import BothBad
from nlhf.votes.formats.table import TIDY
from nlhf.votes.source import Source, source_of
from nlhf.votes.table import Report, VoteTable
from nlhf.votes.where import Where, passing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which votes of a file are read, as the keys of game=votes say."""

    context: Sequence[str] = ()
    where: Where = field(default_factory=dict)
    drop: Sequence[str] = ()
    cluster: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    both_bad: BothBad = "tie"

    @property
    def options(self) -> list[str]:
        """The options of a command that reads these votes, without the context."""
        arguments = []
        for column, values in self.where.items():
            for value in values if isinstance(values, list) else [values]:
                arguments += ["--where", f"{column}={value}"]
        for name, listing in (("drop", self.drop), ("cluster", self.cluster)):
            arguments += [f"--{name}", ",".join(listing)] if listing else []
        if self.columns:
            arguments += ["--columns", ",".join(f"{new}={old}" for new, old in self.columns.items())]
        return arguments + (["--both-bad", self.both_bad] if self.both_bad != "tie" else [])


def read_votes(file: InputFile, chosen: Selection, every_row: bool = False) -> tuple[list[Vote], Report | None]:
    """The votes that pass the filters and have no dropped item, and a report; None for tidy votes, which use all rows.

    Args:
        file: the file.
        chosen: the selection.
        every_row: a vote for each row, with the cells of its question and voter too; otherwise rows that agree may be
            added up.

    Raises: ConfigError for an invalid column, row, filter or item.
    """
    source = source_of(file, chosen.columns)
    if not source.columns:
        raise ConfigError(source.refusal("votes on items"))
    warn_of_copies(source)
    if source.format is TIDY or (source.format is None and source.frame is None):
        return read_rows(file, source.named_rows, chosen.context, chosen.where, chosen.drop, chosen.cluster), None
    table, report = read_table(source, chosen)
    if every_row:
        table, _ = read_table(source, chosen, {"columns": source.of_question()})
    votes = (table if every_row else table.pooled()).votes()
    check_total(votes, file, bool(chosen.where or chosen.drop))
    return votes, report


def read_table(
    source: Source, chosen: Selection, further: Mapping[str, Collection[str]] | None = None
) -> tuple[VoteTable, Report]:
    """The votes of a format other than tidy votes that pass the filters and have no dropped item, and a report.

    Args:
        source: the file.
        chosen: the selection.
        further: columns that are read too, by the keys that name them.

    Raises: ConfigError for a file without votes on items, an invalid column, filter or item.
    """
    keys: dict[str, Any] = {"game.context": chosen.context, "game.where": chosen.where, "game.cluster": chosen.cluster}
    table, report = source.table(chosen.both_bad, keys | dict(further or {}))
    if not len(table):
        raise ConfigError(f"{report.sentence}: give a file with votes.")
    return _selected(table, chosen, source.file), report


def warn_of_unused(report: Report) -> None:
    """Log a warning if some rows of a file are not used, or were interpreted."""
    if not report.is_complete:
        log.warning("%s.", report.sentence)


def _selected(table: VoteTable, chosen: Selection, file: InputFile) -> VoteTable:
    """The rows that pass the filters and have no dropped item."""
    rows = np.ones(len(table), dtype=bool)
    if chosen.where:
        rows = passing(table.columns, chosen.where, file.name)
    dropped = {item.strip() for item in chosen.drop}
    if unknown := sorted(dropped - set(table.items)):
        names = listed(sorted(table.items), 50)
        raise ConfigError(f"game.drop={unknown[0]} is not an item of {file}: it has {names}.")
    remaining = np.array([item not in dropped for item in table.items])
    rows &= remaining[table.a] & remaining[table.b]
    return table if rows.all() else table.at(rows)

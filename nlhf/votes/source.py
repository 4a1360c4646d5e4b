"""A file of votes: its format, its columns under the user's names, and the votes that they hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.containers import container, frame, head_text
from nlhf.io.frames import Frame, Labels
from nlhf.io.inputs import InputFile
from nlhf.io.tables import NamedRows, columns_of, listed, named_rows
from nlhf.votes.file import COLUMNS, TIES
from nlhf.votes.formats.base import BAD, BothBad, Format, TextVote
from nlhf.votes.formats.preflib import PreflibFrame
from nlhf.votes.formats.preflib_lines import is_preflib
from nlhf.votes.formats.table import PREFLIB, TIDY, commands, format_of
from nlhf.votes.own_names import with_names
from nlhf.votes.table import Report, Unused, VoteTable
from nlhf.votes.unread import check_unread_columns
from nlhf.votes.where import Where, passing

NO_ITEM, SAME_ITEM = "name no item", "compare an item with itself"


@dataclass(frozen=True)
class Source:
    """A file in a format.

    Args:
        file: the file.
        format: None if no format has its columns.
        frame: its columns; None for a CSV of tidy votes, which is read by rows.
    """

    file: InputFile
    format: Format | None
    frame: Frame | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return named_rows(self.file).columns if self.frame is None else self.frame.columns

    @property
    def named_rows(self) -> NamedRows:
        """The rows of tidy votes, with their cells as texts."""
        if self.frame is None:
            return named_rows(self.file)
        names = [name for name in self.frame.columns if self.frame.plain(name)]
        cells = zip(*(self.frame.labels(name).cells for name in names), strict=True)
        return NamedRows(
            tuple(names),
            [(line, dict(zip(names, row, strict=True))) for line, row in zip(self.frame.lines, cells, strict=True)],
        )

    def further(self) -> list[str]:
        """The names of the further columns of a vote, in the order of the file."""
        assert self.frame is not None
        assert self.format is not None
        new = {old: new for new, old in self.format.renamed.items()}
        used = {name for names in self.format.needs for name in names.split("|")}
        further = [name for name in self.frame.columns if name not in used and not self._hidden(name)]
        names = [new.get(name, name) for name in further if self.frame.plain(name)]
        numbered = [name for name in self.format.numbered if self.format.renamed[name] in self.frame.columns]
        return [name for name in dict.fromkeys(names + numbered) if name not in (*COLUMNS, TIES)]

    def of_question(self) -> list[str]:
        """The further columns that name the question, the voter and the time."""
        assert self.format is not None
        question = self.format.question
        return [
            name for name in self.further() if question is None or name in (*question, "voter", "annotator", "time")
        ]

    def _hidden(self, name: str) -> bool:
        assert self.format is not None
        return any(name == hidden or name.startswith(f"{hidden}.") for hidden in self.format.hidden)

    def labels(self, key: str, name: str) -> Labels:
        """The cells of a further column; `key` is what names it.

        Raises: ConfigError for a column that the file lacks.
        """
        assert self.frame is not None
        assert self.format is not None
        column = self.format.renamed.get(name, name)
        column = column if column in self.frame.columns else name
        if column not in self.frame.columns:
            columns = listed(list(dict.fromkeys([*self.further(), *self.frame.columns])), 50)
            raise ConfigError(f"{key}={name}: {self.file} lacks the column {name}: it has {columns}.")
        labels = self.frame.labels(column)
        if name not in self.format.numbered or column == name:
            return labels
        return Labels(labels.codes, lambda: [*map(str, range(1, len(labels.texts) + 1)), ""])

    def table(self, both_bad: BothBad, names: Mapping[str, Collection[str]] | None = None) -> tuple[VoteTable, Report]:
        """The votes on items.

        Args:
            both_bad: `drop` leaves out votes that both are bad, which are ties otherwise.
            names: the further columns that are read, by the keys that name them; None for all.

        Raises: ConfigError for a file without votes on items, and for a count that is not read.
        """
        if self.format is None or self.format.votes is None or self.frame is None:
            raise ConfigError(self.refusal("votes on items"))
        columns_by_key = {"columns": self.further()} if names is None else names
        columns = {name: self.labels(key, name) for key, values in columns_by_key.items() for name in values}
        cast = self.format.votes(self.frame)
        items, (a, b) = cast.numbered_items
        reasons = {**cast.unused, NO_ITEM: np.minimum(a, b) < 0, SAME_ITEM: a == b}
        notes = cast.notes
        if cast.both_bad is not None and cast.both_bad.any():
            if both_bad == "drop":
                reasons[BAD] = cast.both_bad
            else:
                notes += (f"{int(cast.both_bad.sum()):,} votes that both are bad are ties (both_bad=drop omits them)",)
        used, unused = np.ones(len(a), dtype=bool), {}
        for reason, mask in reasons.items():
            if (rows := np.flatnonzero(mask & used)).size:
                unused[reason] = Unused(len(rows), self.frame.lines[int(rows[0])])
            used &= ~mask
        check_unread_columns(self.frame, self.further(), used, cast.ties)
        votes = VoteTable(items, a, b, cast.wins_a, cast.wins_b, cast.ties, columns, np.arange(len(a)))
        report = Report(self.file.name, self.format.title, len(a), unused, notes, self.format.unit)
        return (votes if used.all() else votes.at(used)), report

    @property
    def has_texts(self) -> bool:
        """True if the file has the columns of texts of its format."""
        if self.format is None or self.format.texts is None or self.frame is None:
            return False
        return set(self.format.text_columns) <= set(self.frame.columns)

    def texts(
        self, both_bad: BothBad, unused: dict[str, Unused], where: Where | None = None
    ) -> Iterator[tuple[int, TextVote]]:
        """The votes on texts in the rows that pass the filters, each with its line.

        Args:
            both_bad: as in `table`.
            unused: counts the other rows that pass, by reason.
            where: column -> value, or list of values, that a row must have.

        Raises: ConfigError for a file without texts, and for filters that no row passes.
        """
        if not self.has_texts:
            raise ConfigError(self.refusal("votes on texts"))
        assert self.frame is not None
        assert self.format is not None
        assert self.format.texts is not None
        chosen = None
        if where:
            chosen = passing({name: self.labels("where", name) for name in where}, where, self.file.name, "where")
        for row, vote in self.format.texts(self.frame):
            if chosen is not None and not chosen[row]:
                continue
            reason = vote if isinstance(vote, str) else vote.reason(both_bad)
            if isinstance(vote, TextVote) and reason is None:
                yield self.frame.lines[row], vote
            elif reason is not None:
                count, first = unused.get(reason, (0, self.frame.lines[row]))
                unused[reason] = Unused(count + 1, first)

    def refusal(self, lacking: str) -> str:
        """The sentence for a file without `votes on items`, `votes on texts` or `ratings`."""
        if not self.columns:
            return f"{self.file.name} is empty: give a file with votes."
        if self.format is None:
            columns = listed([name if name.isprintable() else ascii(name) for name in self.columns], 50) or "none"
            roles, example = ("item and rating", "item") if lacking == "ratings" else ("item_a and item_b", "item_a")
            return (
                f"{self.file.name} has the columns {columns}, which no format has: name those that are {roles}, as in "
                f"columns={{{example}: yours}}, or give a format of docs/formats.md."
            )
        return f"{self.file.name} is a file of {self.format.title} and has no {lacking}: use {commands(self.format)}."


def source_of(file: InputFile, names: Mapping[str, str] | None = None) -> Source:
    """A file with its format; `names` are the user's names of columns, tidy name -> name in the file.

    Raises: ConfigError for a file that cannot be read, or lacks a named column.
    """
    kind = container(file)
    if kind == "csv" and is_preflib(file, head_text(file)):
        ballots = PreflibFrame(file)
        return Source(file, PREFLIB, ballots.renamed(names) if names else ballots)
    if kind == "csv" and not names:
        recognised = format_of(columns_of(file))
        if recognised is None or recognised is TIDY:
            return Source(file, recognised, None)
    columns = frame(file)
    if names:
        columns = with_names(columns, names, file)
    return Source(file, format_of(columns.columns), columns)

"""The parts of the page of a file of votes: a question of the reader, its answer, and what the answer rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Args:
        columns: their titles.
        rows: cells as texts.
        texts: the numbers of the columns that hold texts.
        title: above the table; empty for none.
        note: below the table; empty for none.
        folded: whether a reader opens the table by its title.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int] = (0,)
    title: str = ""
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Verdict:
    """A sentence, and further ones that a reader opens by it."""

    sentence: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        question: of a reader, the title.
        answer: one sentence; empty for none.
        lines: further sentences.
        verdicts: below them.
        tables: below the verdicts.
        pictures: names of the pictures below the tables.
        commands: that a reader can copy.
    """

    question: str
    answer: str = ""
    lines: Sequence[str] = ()
    tables: Sequence[PageTable] = ()
    pictures: Sequence[str] = ()
    commands: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()

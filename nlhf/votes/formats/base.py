"""What describes a format of votes files, and what its readers return."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nlhf.config import LONE_SURROGATE
from nlhf.io.frames import Frame, Labels

BothBad = Literal["tie", "drop"]
BAD, NO_TEXT = "say that both are bad", "lack a text"
BROKEN = "hold half of a character, which UTF-8 cannot encode"


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One vote, or several alike, per row of a file.

    Args:
        a, b: the items.
        wins_a, wins_b: votes for each item, a tie half a vote for each, (n).
        ties: how many of these votes are ties, (n).
        unused: rows that hold no vote, (n), by the reason.
        both_bad: the ties that say that both are bad, (n); None if the format has no such votes.
        notes: clauses about the file for the user.
    """

    a: Labels
    b: Labels
    wins_a: np.ndarray
    wins_b: np.ndarray
    ties: np.ndarray
    unused: Mapping[str, np.ndarray] = field(default_factory=dict)
    both_bad: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def numbered_items(self) -> tuple[list[str], list[np.ndarray]]:
        """The names of all items, and the number of the item on each side of every row; -1 for a missing name."""
        numbers: dict[str, int] = {}
        sides = []
        for labels in (self.a, self.b):
            coded = [numbers.setdefault(text, len(numbers)) if text else -1 for text in [*labels.texts, ""]]
            sides.append(np.array(coded)[labels.codes])
        return list(numbers), sides

    def counts(self, row: int) -> list[float]:
        """The votes for the first, for the second, and the ties of a row."""
        half = self.ties[row] / 2
        return [float(self.wins_a[row] - half), float(self.wins_b[row] - half), float(self.ties[row])]

    def reason(self, row: int) -> str | None:
        """Why a row is not used; None if it is."""
        return next((reason for reason, mask in self.unused.items() if mask[row]), None)


@dataclass(frozen=True)
class TextVote:
    """Votes on two completions of a prompt.

    Args:
        prompt: a text, or messages with role and content.
        a, b: the completions.
        votes: for the first, for the second, ties.
        source: who voted, if several did.
        both_bad: True if the vote is a tie that says that both are bad.
    """

    prompt: Any
    a: Any
    b: Any
    votes: list[float]
    source: str | None = None
    both_bad: bool = False

    def reason(self, both_bad: BothBad) -> str | None:
        """Why the vote is not used; None if it is."""
        if self.both_bad and both_bad == "drop":
            return BAD
        has_prompt = isinstance(self.prompt, str | list) and len(self.prompt) > 0
        if not (has_prompt and isinstance(self.a, str) and isinstance(self.b, str)):
            return NO_TEXT
        return BROKEN if LONE_SURROGATE.search(f"{self.prompt}{self.a}{self.b}") else None

    @property
    def entry(self) -> dict[str, Any]:
        """The vote as a line of a jsonl file."""
        source = {} if self.source is None else {"source": self.source}
        return {"prompt": self.prompt, "a": self.a, "b": self.b, "votes": self.votes, **source}


# The row of a file, and its vote or the reason why it has none
TextVotes = Iterator[tuple[int, TextVote | str]]


@dataclass(frozen=True)
class Format:
    """A format, recognised by its columns.

    Args:
        title: its name in messages and in the documentation.
        needs: columns that a file of this format has; `a|b` for one of several.
        marks: further columns of every vote that it has.
        lacks: columns that it does not have.
        renamed: tidy name -> name in the file, of further columns such as `voter`.
        hidden: columns, or starts of names, that are not cells of a vote, such as texts. They can still be named
            as contexts or filters.
        numbered: columns whose distinct texts are replaced by numbers.
        question: columns that name the question, or the vote if the file has none; None for all further ones.
        votes: reads the votes on items.
        texts: reads the votes on texts.
        text_columns: columns that the texts need, beside `needs`.
        unit: what a row of its frame is, in the plural.
        note: how it becomes votes, for the documentation.
    """

    title: str
    needs: tuple[str, ...]
    marks: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    numbered: tuple[str, ...] = ()
    question: tuple[str, ...] | None = None
    votes: Callable[[Frame], Outcomes] | None = None
    texts: Callable[[Frame], TextVotes] | None = None
    text_columns: tuple[str, ...] = ()
    unit: str = "rows"
    note: str = ""

    def fits(self, columns: Collection[str]) -> bool:
        """True if a file with these columns has this format."""
        every = all(any(name in columns for name in names.split("|")) for names in (*self.needs, *self.marks))
        return every and not any(name in columns for name in self.lacks)


def first_of(columns: Collection[str], names: str) -> str:
    """The first of several names, `a|b`, that is a column."""
    return next(name for name in names.split("|") if name in columns)

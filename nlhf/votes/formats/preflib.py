"""PrefLib files: rankings with ties (soc, soi, toc, toi), categories (cat) and weighted edges (wmd).

A ranking is a vote on every pair of its alternatives, and those in the same braces are tied; alternatives that it does
not rank have no vote. An edge `1,2,w` is w votes for 1 over 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.frames import Frame, Labels
from nlhf.io.inputs import InputFile
from nlhf.votes.formats.base import Outcomes
from nlhf.votes.formats.preflib_lines import GRAPHS, Ballots, Ranking, ballot, edge, split

MOST_ROWS = 2**21
PAIR = ("item_a", "item_b")


class PreflibFrame(Frame):
    """The votes of a PrefLib file, a row for each ballot and pair; the column `ballot` numbers the ballots.

    Where that would be more than MOST_ROWS rows, a row holds the votes of all equal ballots, without that column.

    Attributes:
        share: of the votes of every row for its first item.
        number: of votes of every row.
        notes: clauses about the ballots.
    """

    def __init__(self, file: InputFile) -> None:
        self.source = file.name
        names, body, header = split(file)
        self.items = list(names.values())
        index = {number: position for position, number in enumerate(names)}
        self.ballot: np.ndarray | None = None
        if header["DATA TYPE"] in GRAPHS:
            edges = [(line, *edge(text, index, f"{file.name}: row {line}")) for line, text in body]
            pairs = np.array([(first, second, 1.0, number) for _, first, second, number in edges], dtype=float)
            lines = np.array([line for line, *_ in edges])
            self.notes: tuple[str, ...] = ()
        else:
            ballots = [(line, *ballot(text, index, f"{file.name}: row {line}")) for line, text in body]
            pairs, lines, copies = _votes(ballots)
            self.notes = tuple(_notes(ballots, header))
            if copies.sum() <= MOST_ROWS:
                pairs, lines, self.ballot = _repeated(pairs, lines, copies)
            else:
                self.notes += (f"no column `ballot`, as ballots and pairs are more than {MOST_ROWS:,}",)
        if not len(pairs):
            raise ConfigError(f"{file.name} has no ballot that ranks two alternatives, and no edge: give one that has.")
        self.lines = lines.tolist()
        self.columns = (*PAIR, "wins_a", "wins_b") + (() if self.ballot is None else ("ballot",))
        self.a, self.b = pairs[:, 0].astype(int), pairs[:, 1].astype(int)
        self.share, self.number = pairs[:, 2], pairs[:, 3]

    def labels(self, name: str) -> Labels:
        if (ballots := self.ballot) is not None and name == "ballot":
            return Labels(ballots, lambda: [str(number + 1) for number in range(int(ballots.max()) + 1)])
        return Labels({"item_a": self.a, "item_b": self.b}[name], lambda: self.items)

    def values(self, name: str) -> Sequence[Any]:
        return self.labels(name).cells

    def plain(self, name: str) -> bool:
        return name == "ballot"

    def renamed(self, names: Mapping[str, str]) -> Frame:
        raise ConfigError(f"{self.source} is a PrefLib file, which needs no game.columns: leave that out.")


def votes(frame: Frame) -> Outcomes:
    """The votes on every pair of every ballot."""
    assert isinstance(frame, PreflibFrame)
    wins = (frame.share * frame.number, (1 - frame.share) * frame.number)
    ties = (frame.share == 0.5) * frame.number
    return Outcomes(frame.labels("item_a"), frame.labels("item_b"), *wins, ties, notes=frame.notes)


def _votes(ballots: list[Ballots]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The votes of every line: both items, the share of the first, and the number of ballots; lines; ballots again."""
    rows = [(*pair, count, line) for line, count, ranking in ballots for pair in _pairs(ranking)]
    votes = np.array(rows, dtype=float).reshape(-1, 5)
    return votes[:, :4], votes[:, 4].astype(int), votes[:, 3].astype(int)


def _repeated(pairs: np.ndarray, lines: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row for each ballot and pair, with its line and the number of the ballot."""
    first_rows = np.flatnonzero(np.diff(lines, prepend=-1))
    before = np.cumsum(copies[first_rows]) - copies[first_rows]  # ballots on the lines above
    start = np.repeat(before, np.diff(first_rows, append=len(lines)))
    number = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies) + np.repeat(start, copies)
    rows = np.repeat(pairs, copies, axis=0)
    rows[:, 3] = 1
    return rows, np.repeat(lines, copies), number


def _notes(ballots: list[Ballots], header: Mapping[str, str]) -> Iterator[str]:
    total = sum(count for _, count, _ in ballots)
    short = sum(count for _, count, ranking in ballots if sum(map(len, ranking)) < 2)
    if short:
        yield f"{short:,} of {total:,} ballots rank fewer than two alternatives and hold no vote"
    announced = header.get("NUMBER VOTERS", "")
    if announced.isdecimal() and int(announced) != total:
        yield f"the header announces {int(announced):,} voters, but the file has {total:,} ballots"


def _pairs(ranking: Ranking) -> Iterator[tuple[int, int, float]]:
    """Every pair of ranked alternatives, with 1 where the first is preferred and 1/2 for a tie."""
    for position, group in enumerate(ranking):
        for number, first in enumerate(group):
            for second in group[number + 1 :]:
                yield first, second, 0.5
            for below in ranking[position + 1 :]:
                for second in below:
                    yield first, second, 1.0

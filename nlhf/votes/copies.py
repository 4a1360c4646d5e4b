"""Whether a file holds all of its votes several times, as after it was appended to itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

import numpy as np

from nlhf.io.frames import Labels
from nlhf.io.inputs import InputFile
from nlhf.votes.source import Source

log = logging.getLogger(__name__)
FEWEST = 20  # rows of a file that is checked; half as many different ones are the least that a copied half has
OF_A_VOTE = ("id", "vote_id", "battle_id", "comparison_id", "uuid", "time", "timestamp", "tstamp", "created_at")
OF_A_QUESTION = ("question", "question_id", "prompt", "prompt_id", "instruction")
OF_A_VOTER = ("annotator", "voter", "rater", "worker", "user", "subject", "participant")
_checked: WeakSet[InputFile] = WeakSet()


def warn_of_copies(source: Source) -> None:
    """Log a warning, once for each file, if every row occurs several times; large parquet files are not checked."""
    if source.file in _checked:
        return
    _checked.add(source.file)
    if not source.file.is_streamed and (copies := number_of_copies(*_cells(source))) > 1:
        log.warning(
            "%s holds every row %s, as if it had been appended to itself, and each copy counts as a vote of its own: "
            "remove the copies if they are not votes.",
            source.file.name,
            "twice" if copies == 2 else f"{copies} times",
        )


def number_of_copies(names: Sequence[str], cells: Callable[[str], Iterable[Any]]) -> int:
    """How many times a table holds all of its rows; 1 if equal rows may be different votes.

    Equal rows are copies if the second half of the file repeats the first half, of at least ten different rows, row by
    row. They also are if columns name the vote or its time, or both the question and the voter, and the numbers of all
    rows have a common divisor.

    Args:
        names: of the columns.
        cells: returns the cells of a column; only those that matter are asked for.

    Example:
        >>> number_of_copies(["a"], lambda name: 2 * "abcdefghij"), number_of_copies(["a"], lambda name: 30 * "x")
        (2, 1)
    """

    @cache
    def codes(name: str) -> np.ndarray:
        return Labels.of(map(str, cells(name))).codes

    lower = {name.casefold(): name for name in names}
    of_votes = [lower[name] for name in OF_A_VOTE if name in lower]
    named = bool(of_votes) or not (lower.keys().isdisjoint(OF_A_QUESTION) or lower.keys().isdisjoint(OF_A_VOTER))
    rows = len(codes(names[0])) if names else 0
    if rows < FEWEST or any(np.bincount(codes(name)).min() == 1 for name in of_votes):
        return 1
    repeats = rows % 2 == 0 and all(_repeats(codes(name)) for name in names)
    if not (repeats or named):
        return 1
    _, counts = np.unique(np.stack([codes(name) for name in names], axis=1), axis=0, return_counts=True)
    copies = int(np.gcd.reduce(counts))
    return copies if named or len(counts) >= FEWEST // 2 else 1


def _repeats(codes: np.ndarray) -> bool:
    """True if the second half of a column is its first half."""
    return np.array_equal(codes[: len(codes) // 2], codes[len(codes) // 2 :])


def _cells(source: Source) -> tuple[list[str], Callable[[str], Iterable[Any]]]:
    """The columns of a file whose cells are neither lists nor objects."""
    frame = source.frame
    if frame is not None:
        return [name for name in frame.columns if frame.plain(name)], frame.values
    rows = source.named_rows
    return list(rows.columns), lambda name: (record[name] for _, record in rows.records)

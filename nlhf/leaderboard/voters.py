"""The voters of a file of votes, and how often two of them agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nlhf.stats.bootstrap import Estimate
from nlhf.stats.clusters import clustered_mean
from nlhf.votes.clusters import Cells, soft
from nlhf.votes.file import COLUMNS, Vote

VOTERS = (
    "annotator",
    "voter",
    "vote",
    "rater",
    "worker",
    "user",
    "sample",
    "ballot",
    "order",
    "time",
)  # columns that distinguish votes on one question, or say when they were cast
PEOPLE = (
    "annotator",
    "voter",
    "rater",
    "worker",
    "user",
    "subject",
    "participant",
    "ballot",
)  # columns that name a person
FEW = 20  # with fewer questions, the interval does not resample questions


def question(vote: Vote) -> Cells:
    """The question of a row: the values of all columns other than voters and items."""
    return tuple(value for name, value in vote.cells.items() if _is_of_question(name))


def columns(cast: Sequence[Vote]) -> list[str]:
    """The columns that identify a question."""
    return [name for name in (cast[0].cells if cast else ()) if _is_of_question(name)]


def person(cast: Sequence[Vote]) -> str | None:
    """The first column that names a person with several votes, as far as its name shows."""
    for name in cast[0].cells if cast else ():
        if name.casefold() in PEOPLE and len({vote.cells[name] for vote in cast}) < len(cast):
            return name
    return None


def _is_of_question(name: str) -> bool:
    """True for a column that names neither a voter nor an item."""
    return name not in (*COLUMNS, *VOTERS)


def agreement(cast: Sequence[Vote]) -> Estimate | None:
    """How often two votes on the same pair and question agree; a tie is an answer of its own.

    The interval resamples questions, or pairs if there are few questions. None if a row is a probability or pools
    several votes, or if no question has two votes.
    """
    if soft(cast) or any(vote.wins_a + vote.wins_b > 1 for vote in cast):
        return None
    questions = Counter((question(vote), min(vote.a, vote.b), max(vote.a, vote.b)) for vote in cast)
    if len(questions) == len(cast):
        return None
    counts: dict[Cells, dict[tuple[str, str], np.ndarray]] = {}
    for vote in cast:
        votes = np.array([vote.wins_a - vote.ties / 2, vote.wins_b - vote.ties / 2, vote.ties])
        pair, votes = ((vote.a, vote.b), votes) if vote.a < vote.b else ((vote.b, vote.a), votes[[1, 0, 2]])
        by_pair = counts.setdefault(question(vote), {})
        by_pair[pair] = by_pair.get(pair, 0) + votes
    tables = [np.array(list(pairs.values())) for pairs in counts.values()]
    if len(tables) < FEW:
        tables = [row[None] for table in tables for row in table]
    same = np.array([(table * (table - 1)).sum() / 2 for table in tables])
    couples = np.array([(table.sum(1) * (table.sum(1) - 1)).sum() / 2 for table in tables])
    return None if couples.sum() < 2 else clustered_mean(same, couples)

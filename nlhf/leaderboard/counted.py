"""The votes of a file as counts for each context and pair, with the votes of a cluster as one vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.units import units_of
from nlhf.votes.clusters import Cells, soft, values_of
from nlhf.votes.comparisons import natural_key
from nlhf.votes.file import Vote
from nlhf.votes.formats.table import PREFLIB, TIDY
from nlhf.votes.read import Selection, read_votes
from nlhf.votes.source import Source, source_of
from nlhf.votes.table import Report

BALLOT = "ballot"  # the column of the clusters of PrefLib files


@dataclass(frozen=True)
class CountedVotes:
    """The votes of a file.

    Args:
        source: the file and its format.
        cast: a vote for each row that is used.
        report: which rows are not used; None if every row is.
        items: their names, n.
        contexts: the cells of each context, X.
        cluster: the columns of clusters; empty if votes are taken as independent.
        wins: of the row's item, ties as halves, (X, n, n).
        votes: on each pair, (X, n, n), symmetric; with clusters, the number of clusters that voted on it.
    """

    source: Source
    cast: list[Vote]
    report: Report | None
    items: tuple[str, ...]
    contexts: tuple[Cells, ...]
    cluster: tuple[str, ...]
    wins: np.ndarray
    votes: np.ndarray

    @property
    def append_note(self) -> str:
        """Why new rows cannot be appended to the file as they are; empty if they can."""
        file = self.source.file
        if self.source.format is not TIDY or self.source.frame is not None or file.content != file.decompressed:
            return (
                f"Answers are CSV rows of tidy votes, and {file.name} is another format: write it as tidy votes first, "
                "with nlhf votes convert FILE --out votes.csv."
            )
        if not file.content.endswith((b"\n", b"\r")):
            return f"{file.name} does not end with a line feed: add one before you append answers."
        return ""


def count_votes(path: str, chosen: Selection, items: Sequence[str] = ()) -> CountedVotes:
    """Read a file of votes; ballots of PrefLib files are clusters unless `chosen` names others.

    Args:
        path: the file; a CSV with a header and no row is allowed if items are named.
        chosen: which votes are read.
        items: all items; by default, those that have votes.

    Raises: ConfigError for an invalid file, row, filter or item, and for probabilities without clusters.
    """
    source = source_of(InputFile(path), chosen.columns)
    cast, report = _read(source, chosen, items)
    cluster = tuple(chosen.cluster)
    if not cluster and source.format is PREFLIB and BALLOT in source.columns:
        cluster = (BALLOT,)
    if soft(cast) and not cluster:
        raise ConfigError(
            f"{path} has probabilities, whose number says nothing about chance: name the column of the questions or "
            "voters that they are from, as in --cluster prompt."
        )
    names = _items(cast, items, path)
    contexts = sorted({values_of(vote, chosen.context) for vote in cast}, key=lambda c: [natural_key(x) for x in c])
    contexts = contexts or [()]
    wins, votes = _tables(cast, names, contexts, chosen.context, cluster)
    return CountedVotes(source, cast, report, names, tuple(contexts), cluster, wins, votes)


def _read(source: Source, chosen: Selection, items: Sequence[str]) -> tuple[list[Vote], Report | None]:
    if source.format is not TIDY or source.named_rows.records:
        return read_votes(source.file, chosen, every_row=True)
    if not items:
        raise ConfigError(f"{source.file.name} has a header and no votes: name the items, as in --items a,b,c.")
    if chosen.context:
        raise ConfigError(
            f"{source.file.name} has no votes, so the values of {chosen.context[0]} are unknown: add a vote for each "
            "value, or leave --context out."
        )
    return [], None


def _items(cast: Sequence[Vote], items: Sequence[str], path: str) -> tuple[str, ...]:
    """The names of the items in natural order."""
    voted = {item for vote in cast for item in (vote.a, vote.b)}
    if items and (unnamed := sorted(voted - set(items), key=natural_key)):
        raise ConfigError(f"--items lacks {unnamed[0]}, which has votes in {path}: add it, or add --drop {unnamed[0]}.")
    names = tuple(sorted(voted | set(items), key=natural_key))
    if len(names) < 2:
        raise ConfigError(f"{path} has fewer than two items: name them all, as in --items a,b,c.")
    return names


def _tables(
    cast: Sequence[Vote],
    items: Sequence[str],
    contexts: Sequence[Cells],
    context: Sequence[str],
    cluster: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Wins and votes (X, n, n); the votes of a cluster on a pair in a context count as one, their mean."""
    by_context: dict[Cells, list[Vote]] = {cells: [] for cells in contexts}
    for vote in cast:
        by_context[values_of(vote, context)].append(vote)
    tables = np.zeros((2, len(contexts), len(items), len(items)))
    index = {item: number for number, item in enumerate(items)}
    for x, votes in enumerate(by_context.values()):
        if cluster:
            tables[:, x] = units_of(votes, items, cluster).table(len(items))
            continue
        for vote in votes:
            i, j = index[vote.a], index[vote.b]
            tables[0, x, i, j] += vote.wins_a
            tables[0, x, j, i] += vote.wins_b
    wins = tables[0]
    return wins, tables[1] if cluster else wins + wins.swapaxes(1, 2)

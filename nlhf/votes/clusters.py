"""The votes of each voter or question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlhf.stats.vote_clusters import LARGEST, Clusters
from nlhf.votes.file import Vote

Cells = tuple[str, ...]


def soft(cast: Sequence[Vote]) -> bool:
    """True if some rows are probabilities, not counts of votes and ties."""
    return any(wins % 0.5 != 0 for vote in cast for wins in (vote.wins_a, vote.wins_b))


def values_of(vote: Vote, names: Sequence[str]) -> Cells:
    """The values of these columns."""
    return tuple(vote.cells[name] for name in names)


def clusters_of(cast: Sequence[Vote], items: Sequence[str], names: Sequence[str]) -> Clusters | None:
    """The decided votes of each cluster that the columns `names` define; None if they take too much memory.

    In rows that are probabilities, every value counts, also 1/2.
    """
    index = {item: number for number, item in enumerate(items)}
    numbers = {cells: number for number, cells in enumerate(dict.fromkeys(values_of(vote, names) for vote in cast))}
    if len(numbers) * len(items) ** 2 > LARGEST:
        return None
    wins, ties = np.zeros((len(numbers), len(items), len(items))), not soft(cast)
    for vote in cast:
        cluster, a, b, half = numbers[values_of(vote, names)], index[vote.a], index[vote.b], ties * vote.ties / 2
        wins[cluster, a, b] += vote.wins_a - half
        wins[cluster, b, a] += vote.wins_b - half
    return Clusters(", ".join(names), wins, wins + wins.swapaxes(1, 2))

"""How the certified exploitability of the best policy falls with the number of votes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nlhf.leaderboard.proof import MOST, bounds_of, smallest
from nlhf.leaderboard.units import Units
from nlhf.votes.file import Vote

POINTS = {20: 20, 40: 10, MOST: 6}  # numbers of votes, up to a number of items
MOST_DRAWN = 10**9  # votes that can be put in a random order
TIME = "time"


class Counted(NamedTuple):
    """The first observations: their number, and wins, votes and ties of every pair, (n, n) each."""

    number: int
    wins: np.ndarray
    votes: np.ndarray
    ties: np.ndarray


@dataclass(frozen=True)
class Growth:
    """The certified exploitability of the best policy, after the first observations.

    Args:
        numbers: of observations, (K), increasing.
        once, anytime: as in `Proof`, (K) each.
        unit: what is counted, in the plural.
        order: which observations come first.
    """

    numbers: list[int]
    once: list[float]
    anytime: list[float]
    unit: str
    order: str


def growth_of_votes(cast: Sequence[Vote], items: Sequence[str]) -> Growth | None:
    """The curve of counted votes; None for too few or too many items or votes."""
    total = sum(vote.wins_a + vote.wins_b for vote in cast)
    if not 2 <= len(items) <= MOST or not 2 <= total <= MOST_DRAWN:
        return None
    rows = _rows(cast, items)
    order = "in the order of the file"
    counts = rows[:, 2:].sum(1)
    if counts.max() > 1 or _is_sorted_by_pair(rows):
        return _growth(_at_random(rows, len(items)), "votes", "in a random order, as the file has no order of votes")
    if (times := _times(cast)) is not None:
        rows, order = rows[np.argsort(times, kind="stable")], f"in the order of the column {TIME}"
    return _growth(_in_order(rows, len(items)), "votes", order)


def growth_of_units(units: Units, items: Sequence[str], at_random: bool = False) -> Growth | None:
    """The curve of observations that are clusters; None for too few clusters, or too few or too many items.

    Args:
        units: the observations.
        items: names.
        at_random: put the clusters in a random order, as files may be sorted, such as ballots by their content.
    """
    n = len(items)
    if not 2 <= n <= MOST or units.size < 2:
        return None
    numbers, order = _numbers(units.size, min(units.size, 4), n), "in the order of the file"
    if at_random:
        permutation = np.random.default_rng(0).permutation(units.size)
        units, order = replace(units, clusters=permutation[units.clusters]), "in a random order"
    counted = (Counted(number, *units.table(n, number), np.ones((n, n))) for number in numbers)
    return _growth(counted, f"values of {units.name}", order, separate=True)


def _growth(counted: Iterable[Counted], unit: str, order: str, separate: bool = False) -> Growth:
    numbers, values = [], []
    for number, wins, votes, ties in counted:
        bounds = bounds_of(wins, votes, bool(ties.any()), separate)
        numbers.append(number)
        values.append([smallest(each)[1] for each in bounds])
    once, anytime = map(list, zip(*values, strict=True))
    return Growth(numbers, once, anytime, unit, order)


def _numbers(total: int, first: int, items: int) -> list[int]:
    """Numbers of observations in equal ratios, the last one all of them."""
    points = next(number for most, number in POINTS.items() if items <= most)
    return sorted({round(number) for number in np.geomspace(first, total, points)})


def _rows(cast: Sequence[Vote], items: Sequence[str]) -> np.ndarray:
    """Rows with votes: the smaller and the larger number of the items, wins of each, and ties; whole numbers (R, 5)."""
    index = {item: number for number, item in enumerate(items)}
    rows = []
    for vote in cast:
        if vote.wins_a + vote.wins_b > 0:
            i, j, half = index[vote.a], index[vote.b], vote.ties / 2
            wins = (vote.wins_a - half, vote.wins_b - half)
            rows.append((i, j, *wins, vote.ties) if i < j else (j, i, *wins[::-1], vote.ties))
    return np.asarray(np.rint(np.array(rows)).astype(np.int64))


def _is_sorted_by_pair(rows: np.ndarray) -> bool:
    """True if all votes of a pair follow each other, so that the first votes are about few pairs."""
    pairs = rows[:, :2]
    distinct = len(np.unique(pairs, axis=0))
    return 1 < distinct == 1 + int((pairs[1:] != pairs[:-1]).any(1).sum()) < len(rows)


def _times(cast: Sequence[Vote]) -> np.ndarray | None:
    """The time of every row with votes, as numbers or texts that sort; None if some row has none."""
    times = [vote.cells.get(TIME, "") for vote in cast if vote.wins_a + vote.wins_b > 0]
    if not all(times):
        return None
    try:
        return np.asarray(np.array(times, dtype=float))
    except ValueError:
        return np.asarray(np.array(times))


def _in_order(rows: np.ndarray, items: int) -> Iterator[Counted]:
    """The tables of the first rows, each a vote."""
    flat, start = np.zeros((items * items, 3)), 0
    for number in _numbers(len(rows), _first(len(rows), items), items):
        part = rows[start:number]
        np.add.at(flat, part[:, 0] * items + part[:, 1], part[:, 2:])
        start = number
        yield _counted(number, flat.reshape(items, items, 3))


def _at_random(rows: np.ndarray, items: int) -> Iterator[Counted]:
    """The tables of the first votes in a random order."""
    remaining, rng = np.zeros((items * items, 3), dtype=np.int64), np.random.default_rng(0)
    np.add.at(remaining, rows[:, 0] * items + rows[:, 1], rows[:, 2:])
    drawn, total = np.zeros_like(remaining), int(remaining.sum())
    for number in _numbers(total, _first(total, items), items):
        size = number - int(drawn.sum())
        new = rng.multivariate_hypergeometric(remaining.reshape(-1), size, method="marginals").reshape(remaining.shape)
        remaining, drawn = remaining - new, drawn + new
        yield _counted(number, drawn.reshape(items, items, 3).astype(float))


def _first(total: int, items: int) -> int:
    """The smallest number of votes of a curve."""
    return max(1, min(items * (items - 1) // 2, total // 10))


def _counted(number: int, counts: np.ndarray) -> Counted:
    """The tables of counts (n, n, 3) above the diagonal: wins of the row's item, of the other one, and ties."""
    ties = counts[..., 2] + counts[..., 2].T
    wins = counts[..., 0] + counts[..., 1].T + ties / 2
    return Counted(number, wins, wins + wins.T, ties)

"""How much being named first helps an item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from nlhf.leaderboard.voters import FEW, columns
from nlhf.stats.bootstrap import LEVEL, Estimate
from nlhf.votes.clusters import values_of
from nlhf.votes.file import Vote

FEWEST = 5  # clusters; with fewer there is no interval
Rows = list[tuple[Vote, int, int]]  # votes with the number of their pair and of their order


def position_clusters(cast: Sequence[Vote], cluster: Sequence[str]) -> tuple[list[str], int]:
    """The columns whose values the interval of `position` takes as independent, and the number of their values.

    These are the columns of `cluster`, or those of questions if there are enough; none if votes are independent.
    """
    names = list(cluster) or columns(cast)
    number = len({values_of(vote, names) for vote in cast})
    return (names, number) if cluster or number >= FEW else ([], 0)


def position(cast: Sequence[Vote], cluster: Sequence[str] = ()) -> Estimate | None:
    """How often the item that is named first wins, if both orders of each pair are equally frequent.

    This is the mean of its shares in the two orders, with pairs weighted by their information. The interval is
    Student's over clusters (`position_clusters`), from the change of the mean with each cluster (the delta method).
    None if no pair is named in both orders, or if the item named second never wins: then the order tells who won, as
    in a ranking.
    """
    rows, number = _in_both_orders(cast)
    if not any(vote.wins_b > vote.wins_a for vote, _, _ in rows):
        return None
    names, _ = position_clusters(cast, cluster)
    wins, votes = np.zeros((2, number, 2))
    for vote, pair, order in rows:
        wins[pair, order] += vote.wins_a
        votes[pair, order] += vote.wins_a + vote.wins_b
    weight = votes.prod(1) / votes.sum(1)
    weight /= weight.sum()
    value = float((weight[:, None] * wins / votes).sum() / 2)
    if names:
        half = _half_width(_changes(rows, names, wins, votes, weight, value))
    else:
        share = wins / votes
        variance = ((share * (1 - share) + 0.25 / votes) / votes).sum(1) / 4
        half = float(special.ndtri((1 + LEVEL) / 2) * np.sqrt((weight**2 * variance).sum()))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), float(votes.sum()))


def _in_both_orders(cast: Sequence[Vote]) -> tuple[Rows, int]:
    """The votes on pairs that are named in both orders, and the number of these pairs."""
    voted = [vote for vote in cast if vote.wins_a + vote.wins_b]
    named = {(vote.a, vote.b) for vote in voted}
    pairs = {pair: number for number, pair in enumerate(sorted((a, b) for a, b in named if a < b and (b, a) in named))}
    rows = [
        (vote, pairs[pair], int(vote.a > vote.b))
        for vote in voted
        if (pair := (min(vote.a, vote.b), max(vote.a, vote.b))) in pairs
    ]
    return rows, len(pairs)


def _changes(
    rows: Rows, names: Sequence[str], wins: np.ndarray, votes: np.ndarray, weight: np.ndarray, value: float
) -> np.ndarray:
    """The change of the mean with each cluster.

    The votes of a cluster are compared with those of all others on the same pair and order, and with one further vote
    of the mean share, so that a cluster that alone has voted on a pair counts too.
    """
    numbers: dict[tuple[tuple[str, ...], int, int], int] = {}  # of a cluster's votes on a pair in an order
    row_numbers = [
        numbers.setdefault((values_of(vote, names), pair, order), len(numbers)) for vote, pair, order in rows
    ]
    won = np.bincount(row_numbers, [vote.wins_a for vote, _, _ in rows])
    cast = np.bincount(row_numbers, [vote.wins_a + vote.wins_b for vote, _, _ in rows])
    clusters: dict[tuple[str, ...], int] = {}
    cluster, pairs, orders = np.array(
        [(clusters.setdefault(cells, len(clusters)), pair, order) for cells, pair, order in numbers]
    ).T
    share = (wins[pairs, orders] - won + value) / (votes[pairs, orders] - cast + 1)
    return np.bincount(cluster, weight[pairs] / 2 * (won - cast * share) / votes[pairs, orders])


def _half_width(changes: np.ndarray) -> float:
    """Half the width of Student's interval of a sum of independent changes; nan for few."""
    count = len(changes)
    if count < FEWEST:
        return float("nan")
    return float(special.stdtrit(count - 1, (1 + LEVEL) / 2) * np.sqrt((changes**2).sum() * count / (count - 1)))

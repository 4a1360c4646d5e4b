"""The voters of a file of votes: how often two agree, and how much being named first helps an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nlhf.stats.bootstrap import Estimate, redrawn
from nlhf.stats.clusters import clustered_mean
from nlhf.votes.file import COLUMNS

VOTERS = (
    "annotator",
    "voter",
    "vote",
    "rater",
    "worker",
    "user",
    "sample",
)  # columns that distinguish votes on one question
FEW = 20  # with fewer questions, the interval does not resample questions
DRAWS = 1000
Cast = Sequence[tuple[Mapping[str, str], tuple[str, str, float, float]]]
Question = tuple[str, ...]


def question(record: Mapping[str, str]) -> Question:
    """The question of a row: the values of all columns other than voters and items."""
    return tuple(value for name, value in record.items() if _is_of_question(name))


def columns(cast: Cast) -> list[str]:
    """The columns that identify a question."""
    return [name for name in (cast[0][0] if cast else ()) if _is_of_question(name)]


def _is_of_question(name: str) -> bool:
    """True for a column that names neither a voter nor an item."""
    return name not in (*COLUMNS, *VOTERS)


def soft(cast: Cast) -> bool:
    """True if some rows are probabilities, not counts of votes and ties."""
    return any(wins % 0.5 != 0 for _, (_, _, *both) in cast for wins in both)


def by_question(cast: Cast, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The wins of each item against each other on each question, and the number of votes, (Q, n, n) each."""
    index = {item: number for number, item in enumerate(items)}
    questions = {name: number for number, name in enumerate(dict.fromkeys(question(record) for record, _ in cast))}
    wins = np.zeros((len(questions), len(items), len(items)))
    for record, (a, b, wins_a, wins_b) in cast:
        q = questions[question(record)]
        wins[q, index[a], index[b]] += wins_a
        wins[q, index[b], index[a]] += wins_b
    return wins, wins + wins.swapaxes(1, 2)


def agreement(cast: Cast) -> Estimate | None:
    """How often two votes on the same pair and question agree; a tie is an answer of its own.

    The interval resamples questions, or pairs if there are few questions. None if a row is a probability or pools
    several votes, whose number of ties is unknown, or if no question has two votes.
    """
    if soft(cast) or any(wins_a + wins_b > 1 for _, (_, _, wins_a, wins_b) in cast):
        return None
    counts: dict[Question, dict[tuple[str, str], np.ndarray]] = {}
    for record, (a, b, wins_a, wins_b) in cast:
        tie = 1.0 if wins_a % 1 == wins_b % 1 == 0.5 else 0.0
        votes = np.array([wins_a - tie / 2, wins_b - tie / 2, tie])
        pair, votes = ((a, b), votes) if a < b else ((b, a), votes[[1, 0, 2]])
        by_pair = counts.setdefault(question(record), {})
        by_pair[pair] = by_pair.get(pair, 0) + votes
    tables = [np.array(list(pairs.values())) for pairs in counts.values()]
    if len(tables) < FEW:
        tables = [row[None] for table in tables for row in table]
    same = np.array([(table * (table - 1)).sum() / 2 for table in tables])
    couples = np.array([(table.sum(1) * (table.sum(1) - 1)).sum() / 2 for table in tables])
    return None if couples.sum() < 2 else clustered_mean(same, couples)


def position(cast: Cast) -> Estimate | None:
    """How often the item that is named first wins, if both orders of each pair are equally frequent.

    This is the mean of its shares in the two orders, with pairs weighted by their information. The interval resamples
    questions; with few questions it is the normal interval of independent votes. None if no pair is named in both
    orders.
    """
    named: dict[tuple[str, str], list[tuple[Question, float, float]]] = {}
    for record, (a, b, wins_a, wins_b) in cast:
        if wins_a + wins_b:
            named.setdefault((a, b), []).append((question(record), wins_a, wins_a + wins_b))
    both = [(named[a, b], named[b, a]) for a, b in named if a < b and (b, a) in named]
    if not both:
        return None
    questions = {
        name: number
        for number, name in enumerate(dict.fromkeys(name for orders in both for rows in orders for name, *_ in rows))
    }
    counts = np.zeros((len(questions), len(both), 2, 2))  # question, pair, order, (wins of the first, votes)
    for pair, orders in enumerate(both):
        for order, rows in enumerate(orders):
            for name, wins, votes in rows:
                counts[questions[name], pair, order] += wins, votes
    value, error = _first(counts.sum(0))
    ends = value - 1.96 * error, value + 1.96 * error
    if len(questions) >= FEW:
        drawn = (redrawn(len(questions), DRAWS) @ counts.reshape(len(questions), -1)).reshape(-1, len(both), 2, 2)
        ends = tuple(np.nanquantile([_first(table)[0] for table in drawn], (0.025, 0.975)))
    return Estimate(value, float(ends[0]), float(ends[1]), float(counts[..., 1].sum()))


def _first(counts: np.ndarray) -> tuple[float, float]:
    """The share of the first, from counts (pairs, orders, wins and votes), and its standard error."""
    wins, number = counts[..., 0], counts[..., 1]
    complete = (number > 0).all(-1)
    if not complete.any():
        return float("nan"), float("nan")
    number, share = number[complete], wins[complete] / number[complete]
    weight = number.prod(1) / number.sum(1)
    variance = ((share * (1 - share) + 0.25 / number) / number).sum(1) / 4
    return float(np.average(share.mean(1), weights=weight)), float(np.sqrt((weight**2 * variance).sum()) / weight.sum())

"""What the rows of a file of votes tell of those who voted: how often two agree, and what being first is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nlhf.stats.bootstrap import Estimate, clustered_mean, redrawn
from nlhf.votes.file import COLUMNS

VOTERS = ("annotator", "voter", "vote", "rater", "worker", "user", "sample")  # columns that tell votes on one apart
FEW = 20  # questions from which they are what is redrawn
DRAWS = 1000
Cast = Sequence[tuple[Mapping[str, str], tuple[str, str, float, float]]]
Question = tuple[str, ...]


def question(record: Mapping[str, str]) -> Question:
    """What was asked about, by all columns that name neither a voter nor the items."""
    return tuple(value for name, value in record.items() if _tells(name))


def columns(cast: Cast) -> list[str]:
    """The columns that tell questions apart."""
    return [name for name in (cast[0][0] if cast else ()) if _tells(name)]


def _tells(name: str) -> bool:
    return name not in (*COLUMNS, *VOTERS)


def soft(cast: Cast) -> bool:
    """Are there rows that are no counts of votes and ties, but probabilities?"""
    return any(wins % 0.5 != 0 for _, (_, _, *both) in cast for wins in both)


def by_question(cast: Cast, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What each item won of each other one on each question, and of how many votes, (Q, n, n) both."""
    place = {item: number for number, item in enumerate(items)}
    questions = {name: number for number, name in enumerate(dict.fromkeys(question(record) for record, _ in cast))}
    wins = np.zeros((len(questions), len(items), len(items)))
    for record, (a, b, wins_a, wins_b) in cast:
        q = questions[question(record)]
        wins[q, place[a], place[b]] += wins_a
        wins[q, place[b], place[a]] += wins_b
    return wins, wins + wins.swapaxes(1, 2)


def agreement(cast: Cast) -> Estimate | None:
    """How often two different votes on a pair of a question agree, a tie being an answer; the interval is a bootstrap
    over questions, or over pairs where there are few. None where a row is more than one vote, of which it is not known
    how many were ties, or a probability, or no question has two."""
    if soft(cast) or any(wins_a + wins_b > 1 for _, (_, _, wins_a, wins_b) in cast):
        return None
    counts: dict[Question, dict[tuple[str, str], np.ndarray]] = {}
    for record, (a, b, wins_a, wins_b) in cast:
        tie = 1.0 if wins_a % 1 == wins_b % 1 == 0.5 else 0.0
        votes = np.array([wins_a - tie / 2, wins_b - tie / 2, tie])
        pair, votes = ((a, b), votes) if a < b else ((b, a), votes[[1, 0, 2]])
        known = counts.setdefault(question(record), {})
        known[pair] = known.get(pair, 0) + votes
    tables = [np.array(list(pairs.values())) for pairs in counts.values()]
    if len(tables) < FEW:
        tables = [row[None] for table in tables for row in table]
    same = np.array([(table * (table - 1)).sum() / 2 for table in tables])
    couples = np.array([(table.sum(1) * (table.sum(1) - 1)).sum() / 2 for table in tables])
    return None if couples.sum() < 2 else clustered_mean(same, couples)


def position(cast: Cast) -> Estimate | None:
    """How often the item that is named first wins, where each pair is asked in both orders as often: the mean of its
    shares in both, pairs weighted by how much they tell. The interval is a bootstrap over questions; where there are
    few, the normal one of independent votes. None where no pair is named in both orders."""
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
    counts = np.zeros((len(questions), len(both), 2, 2))  # by question, pair, order: wins of the first, votes
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
    seen = (number > 0).all(-1)
    if not seen.any():
        return float("nan"), float("nan")
    number, share = number[seen], wins[seen] / number[seen]
    weight = number.prod(1) / number.sum(1)
    variance = ((share * (1 - share) + 0.25 / number) / number).sum(1) / 4
    return float(np.average(share.mean(1), weights=weight)), float(np.sqrt((weight**2 * variance).sum()) / weight.sum())

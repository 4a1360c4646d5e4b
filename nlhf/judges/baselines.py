"""Baselines for judges: how well voters agree, and how often the longer completion wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nlhf.judges.text_votes import TextVotes

EDGE = 1e-6  # the least probability above 1/2 with which the longer completion wins


def agreement(votes: TextVotes) -> tuple[np.ndarray, np.ndarray]:
    """How often two different voters of a pair agree (n), and the number of pairs of voters behind it (n)."""
    number = votes.number
    couples = number * (number - 1) / 2
    same = (votes.votes * (votes.votes - 1) / 2).sum(1)
    return np.divide(same, couples, out=np.zeros_like(same), where=couples > 0), np.maximum(couples, 0)


def another_voter(votes: TextVotes) -> tuple[np.ndarray, np.ndarray]:
    """How often a voter agrees with the majority of the other voters of the pair (n), and the number of cases (n).

    A tie is half right. Only voters whose others have a majority count. This is the accuracy to compare a judge with,
    although a majority without one voter is less certain than the majority of all.
    """
    first, second, ties = votes.votes.T
    correct, cases = np.zeros(len(votes)), np.zeros(len(votes))
    # Number of voters who gave an answer, the lead of the first completion among the others, and the answer's sign
    for number, lead, answer in (
        (first, first - 1 - second, 1),
        (second, first - second + 1, -1),
        (ties, first - second, 0),
    ):
        decided = number * (np.abs(lead) > 0) * (votes.number > 1)
        correct += decided * (0.5 + 0.5 * answer * np.sign(lead))
        cases += decided
    return np.divide(correct, cases, out=np.zeros_like(correct), where=cases > 0), cases


def longer(votes: TextVotes) -> np.ndarray:
    """P(first > second) (n) of a baseline that knows which share of a source's votes the longer completion gets."""
    length = np.array([len(text) for _, text in votes.answers])
    sign = np.sign(length[votes.pairs[:, 0]] - length[votes.pairs[:, 1]])
    chance = np.full(len(votes), 0.5)
    for source in np.unique(votes.sources):
        rows = (votes.sources == source) & (sign != 0)
        if rows.any():
            share = np.where(sign > 0, votes.share, 1 - votes.share)[rows]
            chance[rows] += sign[rows] * max(EDGE, float(np.average(share, weights=votes.number[rows])) - 0.5)
    return chance

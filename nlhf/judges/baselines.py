"""Baselines for judges: how well voters agree, and how often the longer completion wins."""

from __future__ import annotations

from collections.abc import Sequence
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

    A tie is half right. Only voters whose others have a majority count.
    """
    return _share_right([(number * decided, answer * lead) for number, decided, lead, answer in _left_out(votes)])


def against_others(chance: np.ndarray, votes: TextVotes) -> tuple[np.ndarray, np.ndarray]:
    """How often a judge agrees with the majority of all voters but one (n), and the number of cases (n).

    These are the cases of `another_voter`, so the two shares can be compared. A majority of all voters is more certain
    than one of all but one, and the judge would look better than a voter who judges equally well.
    """
    opinion = np.sign(chance - 0.5)
    return _share_right([(number * decided, opinion * lead) for number, decided, lead, _ in _left_out(votes)])


def _left_out(votes: TextVotes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """For each answer: its number of voters, if the others have a majority, the sign of their lead, its own sign."""
    first, second, ties = votes.votes.T
    leads = ((first, first - 1 - second, 1), (second, first - second + 1, -1), (ties, first - second, 0))
    several = votes.number > 1
    return [(number, several & (lead != 0), np.sign(lead), answer) for number, lead, answer in leads]


def _share_right(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The share of right answers (n) and the number of cases (n); cases are right (1), even (0) or wrong (-1)."""
    cases = np.sum([number for number, _ in parts], 0)
    correct = np.sum([number * (0.5 + 0.5 * agreement) for number, agreement in parts], 0)
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

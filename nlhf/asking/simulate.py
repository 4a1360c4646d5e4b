"""Asking rules on simulated votes: how many votes a rule needs until the votes prove enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nlhf.asking.base import SMALLEST_BATCH, AskingRule, next_batch
from nlhf.asking.certified import CertifiedRule
from nlhf.asking.posterior import drawn_preferences

GROWTH_OF_STEPS = 0.25  # of the votes: batches of simulated continuations are larger, to save time
Bounded = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]  # wins, votes -> best policy and its bound


class Stop(NamedTuple):
    """Where asking stopped: the number of votes, the certified policy (n), and its certified exploitability."""

    votes: float
    policy: np.ndarray
    exploitability: float


def ask_until(
    target: float,
    preference: np.ndarray,
    rule: AskingRule,
    certify: Bounded,
    rng: np.random.Generator,
    wins: np.ndarray | None = None,
    votes: np.ndarray | None = None,
    batch: Callable[[float], int] = next_batch,
    most: float = 1e6,
) -> Stop:
    """Ask voters who prefer i to j with probability P_ij, batch by batch, until the bound is at most the target.

    Args:
        target: certified exploitability at which asking stops.
        preference: P, (n, n).
        rule: chooses the pairs.
        certify: the best policy under the bounds of wins and votes, and its certified exploitability.
        rng: of the votes and the rule.
        wins, votes: that are there before, (n, n); None for none.
        batch: the size of the next batch, by the number of votes.
        most: votes at which asking stops without the target.
    """
    empty = np.zeros(preference.shape)
    wins, votes = empty if wins is None else wins, empty if votes is None else votes
    while True:
        policy, value = certify(wins, votes)
        total = votes.sum() / 2
        if value <= target or total >= most:
            return Stop(total, policy, value)
        numbers = rule.numbers(wins, votes, batch(total), rng)
        won = rng.binomial(numbers, preference)
        wins, votes = wins + won + (numbers - won).T, votes + numbers + numbers.T


def remaining_votes(
    target: float,
    wins: np.ndarray,
    votes: np.ndarray,
    rule: CertifiedRule,
    rng: np.random.Generator,
    draws: int,
    most: float = 1e7,
) -> np.ndarray:
    """How many more votes reach the target in simulated continuations, (draws); inf where `most` votes do not.

    Each draws P from the posterior of the votes. Its batches double up to GROWTH_OF_STEPS of the votes, and the number
    at the target is interpolated between the last two.
    """
    preferences = drawn_preferences(wins, draws, rng)
    return np.array([_remaining(target, wins, votes, rule, preference, rng, most) for preference in preferences])


def _remaining(
    target: float,
    wins: np.ndarray,
    votes: np.ndarray,
    rule: CertifiedRule,
    preference: np.ndarray,
    rng: np.random.Generator,
    most: float,
) -> float:
    start = votes.sum() / 2
    path: list[tuple[float, float]] = []

    def certify(wins: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, float]:
        _, policy, value = rule.certified(wins, votes)
        path.append((votes.sum() / 2, max(value, target / 10)))
        return policy, value

    def batch(total: float) -> int:
        return max(SMALLEST_BATCH, round(float(min(GROWTH_OF_STEPS * total, total - start))))

    stop = ask_until(target, preference, rule, certify, rng, wins, votes, batch, most)
    if stop.exploitability > target:
        return float("inf")
    if len(path) < 2:
        return 0.0
    (before, above), (after, below) = path[-2:]
    part = np.log(above / target) / np.log(above / below)
    return float(before + (after - before) * part - start)

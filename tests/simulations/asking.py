"""What holds while a rule chooses the pairs and stops at a target: bounds, and the range of the remaining votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nlhf.asking.certified import CERTIFIED, CertifiedRule
from nlhf.asking.simulate import ask_until, remaining_votes
from nlhf.leaderboard.next_votes import predicted
from tests.asking_games import GAMES, anytime, random
from tests.simulations.cell import Cell

ITEMS, TARGET, MOST = 3, 0.2, 1000
FIRST = 20  # votes before the remaining ones are predicted
ALIKE = replace(CERTIFIED, clustered=True)


def holds(rule: CertifiedRule, rng: np.random.Generator) -> bool:
    """True if all bounds hold after every batch."""
    preference = random(ITEMS, rng)
    held = []

    def certify(wins: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, float]:
        bounds, policy, value = rule.certified(wins, votes)
        gains = (preference - 0.5) @ policy
        held.append(bool((bounds.upper >= preference - 0.5 - 1e-12).all() and gains.max() <= value + 1e-12))
        return policy, value

    ask_until(TARGET, preference, rule, certify, rng, most=MOST)
    return all(held)


def is_predicted(game: str, rng: np.random.Generator) -> bool:
    """True if the votes that are needed lie in the range that is predicted after the first ones."""
    preference = GAMES[game](ITEMS, rng)
    empty = np.zeros((2, ITEMS, ITEMS))
    numbers = CERTIFIED.numbers(*empty, FIRST, rng)
    won = rng.binomial(numbers, preference)
    wins, votes = won + (numbers - won).T, numbers + numbers.T
    stop = ask_until(TARGET, preference, CERTIFIED, anytime, rng, wins, votes, batch=lambda _: 5)
    low, _, high, _ = predicted(remaining_votes(TARGET, wins, votes, CERTIFIED, rng, 20))
    return low - 5 <= stop.votes - FIRST <= high + 5  # a batch


BOUNDS = [
    Cell(
        "certified exploitability, asking until a target",
        f"{ITEMS} items of random preferences, target {TARGET}, {kind}",
        "coverage",
        lambda rng, rule=rule: holds(rule, rng),
        quick=20,  # tests/test_asking.py runs more
    )
    for kind, rule in (("both bounds", CERTIFIED), ("the bound of pairs alone", ALIKE))
]
CELLS = [
    *BOUNDS,
    *(
        Cell(
            "remaining votes, 90% range",
            f"{ITEMS} items, {game}, after {FIRST} votes, target {TARGET}",
            "coverage",
            lambda rng, game=game: is_predicted(game, rng),
            repetitions=200,
            quick=3,
        )
        for game in ("Bradley-Terry", "random")
    ),
]

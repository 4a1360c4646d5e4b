"""Bounds of exploitability that hold while a rule chooses the pairs and stops at a target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nlhf.asking.certified import CERTIFIED, CertifiedRule
from nlhf.asking.simulate import ask_until
from tests.asking_games import random
from tests.simulations.cell import Cell

ITEMS, TARGET, MOST = 3, 0.2, 1000
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


CELLS = [
    Cell(
        "certified exploitability, asking until a target",
        f"{ITEMS} items of random preferences, target {TARGET}, {kind}",
        "coverage",
        lambda rng, rule=rule: holds(rule, rng),
        quick=20,  # tests/test_asking.py runs more
    )
    for kind, rule in (("both bounds", CERTIFIED), ("the bound of pairs alone", ALIKE))
]

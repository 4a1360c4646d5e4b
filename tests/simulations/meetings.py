"""What an arena proves that chooses its pairs by the verdicts so far, and the intervals of such pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nlhf.arena.intervals import exploitability_bounds, pair_intervals
from nlhf.arena.meetings import Meetings, units_of_prompts
from nlhf.arena.ranking import ORDER
from nlhf.leaderboard.proof import proof_of_units
from tests.asking_games import random
from tests.simulations.cell import Cell, Outcome
from tests.simulations.certificates import ITEMS, PAIRS, Simulate, alike, holds

Won = dict[tuple[str, str], dict[int, list[float]]]
PROMPTS, BLOCK, BIAS = 120, 20, 0.1


class Study:
    """An arena of three contestants: a hard verdict for each of both orders, and preferences that differ by prompt.

    Args:
        preference: mean P of the prompts, (n, n), or that of each half of them, (2, n, n).
        rng: of prompts and verdicts.
    """

    def __init__(self, preference: np.ndarray, rng: np.random.Generator) -> None:
        halves = preference if preference.ndim == 3 else preference[None]
        self.of_prompt = np.repeat(halves, PROMPTS // len(halves), 0)
        self.truth = (1 - 2 * BIAS) * halves.mean(0) + BIAS
        np.fill_diagonal(self.truth, 0.5)
        self.rng = rng
        self.won: Won = {}

    def verdict(self, i: int, j: int, prompt: int) -> float:
        """What i wins, the mean over both orders; the first one is preferred more often by twice BIAS."""
        chance = alike(float(self.of_prompt[prompt, i, j]), 1.0, self.rng)
        return float((self.rng.random(2) < (1 - 2 * BIAS) * chance + np.array([2 * BIAS, 0])).mean())

    def blocks(self, meetings: Meetings) -> Iterator[Won]:
        """All verdicts after each block."""
        seed = int(self.rng.integers(1 << 30))
        for start in range(0, PROMPTS, BLOCK):
            prompts = range(start, start + BLOCK)
            numbers = meetings.numbers(ITEMS, self.won, prompts, seed)
            for (a, b), number in numbers.items():
                for prompt in prompts[:number]:
                    wins = self.verdict(ITEMS.index(a), ITEMS.index(b), prompt)
                    self.won.setdefault((a, b), {})[prompt] = [wins]
                    self.won.setdefault((b, a), {})[prompt] = [1 - wins]
            if numbers:
                yield self.won


def arena_certificate(meetings: Meetings, halves: bool = False) -> Simulate:
    """The bound for any time holds after every block of prompts."""

    def simulate(rng: np.random.Generator) -> bool:
        preference = np.stack([random(len(ITEMS), rng) for _ in range(2)]) if halves else random(len(ITEMS), rng)
        study = Study(preference, rng)
        return all(
            holds(proof_of_units(ITEMS, units_of_prompts(ITEMS, won)), study.truth, "any time")
            for won in study.blocks(meetings)
        )

    return simulate


def arena_interval(meetings: Meetings, exploitability: bool) -> Simulate:
    """The interval of a random pair, or of the exploitability of a random contestant, after the last block."""

    def simulate(rng: np.random.Generator) -> Outcome:
        study, n = Study(random(len(ITEMS), rng), rng), len(ITEMS)
        *_, won = study.blocks(meetings)
        wins, played = np.zeros((2, PROMPTS, n, n))
        for (a, b), by_prompt in won.items():
            for prompt, values in by_prompt.items():
                wins[prompt, ITEMS.index(a), ITEMS.index(b)] = np.mean(values)
                played[prompt, ITEMS.index(a), ITEMS.index(b)] = 1.0
        total = played.sum(0)
        preference = np.divide(wins.sum(0), total, out=np.full((n, n), 0.5), where=total > 0)
        i, j = PAIRS[int(rng.integers(len(PAIRS)))]
        if exploitability:
            low, high = exploitability_bounds(wins, played, preference)[i]
            return bool(low <= (study.truth[:, i] - 0.5).max() <= high)
        low, high = (ends[i, j] for ends in pair_intervals(wins, played, preference))
        return None if np.isnan(low) else bool(low <= study.truth[i, j] <= high)

    return simulate


IN_AN_ARENA = "certified exploitability in an arena, after every block"
CHOICES = {
    "next=certified": Meetings("certified"),
    "next=certified target=0.2": Meetings("certified", target=0.2),
    "precision=0.1": Meetings(precision=0.1),
}
CELLS = [
    *(
        Cell(IN_AN_ARENA, f"3 contestants, {name}", "coverage", arena_certificate(choice), quick=20)
        for name, choice in CHOICES.items()
    ),
    Cell(
        IN_AN_ARENA,
        "3 contestants, next=certified, two subjects of prompts, one after the other",
        "coverage",
        arena_certificate(CHOICES["next=certified"], halves=True),
        500,
        ORDER,
        quick=10,
    ),
    *(
        Cell(statistic, f"3 contestants, {name}", "coverage", arena_interval(choice, exploitability), quick=30)
        for statistic, exploitability in (
            ("interval of a win rate of chosen pairs", False),
            ("interval of an exploitability of chosen pairs", True),
        )
        for name, choice in CHOICES.items()
    ),
]

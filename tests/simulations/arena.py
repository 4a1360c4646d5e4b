"""Intervals of the arena: of pairs, of means over opponents, of exploitabilities, and of pairs that stop early."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlhf.arena.intervals import exploitability_bounds, field_intervals, pair_intervals
from nlhf.arena.rules import is_precise
from nlhf.stats.clusters import clustered_mean
from tests.simulations.cell import Cell

Simulation = Callable[[np.random.Generator], bool]


def _study(rng: np.random.Generator, mean: np.ndarray, prompts: int, soft: bool) -> tuple[np.ndarray, ...]:
    """What each contestant won of each other one on every prompt, who has played, and P."""
    n = len(mean)
    chance = rng.beta(2 * mean, 2 * (1 - mean), (prompts, n, n))  # mean 1/2 on the diagonal, which does not matter
    wins = chance if soft else (rng.random(chance.shape) < chance).astype(float)
    wins = np.triu(wins, 1) + np.tril(1 - wins.swapaxes(1, 2), -1)
    played = np.broadcast_to(1.0 - np.eye(n), wins.shape)
    return wins, played, wins.mean(0) + 0.5 * np.eye(n)


def _win_rates(best: float, contestants: int) -> np.ndarray:
    """True P: the first contestant has the win rate `best` against each other one, and these are even."""
    mean = np.full((contestants, contestants), 0.5)
    mean[0, 1:], mean[1:, 0] = best, 1 - best
    return mean


def _pair(best: float, prompts: int, soft: bool) -> Simulation:
    def simulate(rng: np.random.Generator) -> bool:
        low, high = pair_intervals(*_study(rng, _win_rates(best, 2), prompts, soft))
        return bool(low[0, 1] <= best <= high[0, 1])

    return simulate


def _field(best: float, prompts: int, soft: bool) -> Simulation:
    def simulate(rng: np.random.Generator) -> bool:
        wins, played, preference = _study(rng, _win_rates(best, 4), prompts, soft)
        field = (preference.sum(1) - 0.5) / 3
        low, high = field_intervals(wins, played, preference, field)[0]
        return bool(low <= best <= high)

    return simulate


def _exploitability(best: float, prompts: int, soft: bool) -> Simulation:
    """The exploitability of the last contestant, which loses to the first."""

    def simulate(rng: np.random.Generator) -> bool:
        low, high = exploitability_bounds(*_study(rng, _win_rates(best, 5), prompts, soft))[-1]
        return bool(low <= best - 0.5 <= high)

    return simulate


def _stopped(share: float, precision: float) -> Simulation:
    """Looks after every 20 prompts, and stops when the interval is narrow."""

    def simulate(rng: np.random.Generator) -> bool:
        wins = (rng.random(2000) < share).astype(float)
        size = next(k for k in range(20, 2001, 20) if is_precise({n: wins[n : n + 1] for n in range(k)}, precision))
        estimate = clustered_mean(wins[:size], np.ones(size))
        return estimate.low <= share <= estimate.high

    return simulate


KINDS: dict[str, Callable[[float, int, bool], Simulation]] = {
    "interval of a win rate in the arena": _pair,
    "interval of the mean over 3 opponents in the arena": _field,
    "interval of an exploitability among 5 contestants": _exploitability,
}
CELLS = [
    *(
        Cell(
            statistic,
            f"{prompts} prompts, {'soft' if soft else 'hard'} verdicts, true win rate {best:g}",
            "coverage",
            kind(best, prompts, soft),
        )
        for statistic, kind in KINDS.items()
        for prompts in (5, 20, 50)
        for soft in (False, True)
        for best in (0.5, 0.8, 0.98)
    ),
    *(
        Cell(
            "interval of a win rate that stopped early",
            f"true win rate {share:g}, precision {precision:g}",
            "coverage",
            _stopped(share, precision),
            repetitions=1000,
        )
        for share, precision in ((0.5, 0.1), (0.8, 0.1), (0.95, 0.05), (0.99, 0.03))
    ),
]

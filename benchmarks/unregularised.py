"""Equilibria at beta = 0: `nlhf.equilibrium` against SciPy's linear programme (HiGHS, dual simplex).

Measured in CPU seconds of one thread, on random tournaments, both methods in turn in one process: the ratio of their
medians at n = 5, 100 and 1,000 (limits 1, 1 and 1/20); `solve` over the sum of its own LU factorisations at n = 3,000
(limit 1.5, with --long); and 5,120 games of 8 actions at once (limit 0.5 s).

Run from the checkout: python -m benchmarks.unregularised [--short | --long]. The short version leaves out the n above
100. The last line names what exceeds its limit or is not certified unique; exit code 1 if there is anything.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import numpy as np
import torch

import nlhf
from benchmarks.busy import record
from nlhf.equilibria.solve import solve
from nlhf.equilibria.winners import linear_programme

T = TypeVar("T")
SIZES = {5: (200, 1.0), 100: (40, 1.0), 1000: (3, 1 / 20)}  # actions: repetitions and limit
LARGE, LARGE_LIMIT = 3000, 1.5
BATCH, BATCH_LIMIT = (5120, 8), 0.5


def main(short: bool, long: bool) -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(1)
    exceeded = [f"n = {n}" for n in SIZES if not (short and n > 100) and not against_highs(n, *SIZES[n])]
    if not batch():
        exceeded.append("batch")
    if long and not large():
        exceeded.append(f"n = {LARGE}")
    print(f"exceed their limit: {', '.join(exceeded) or 'none'}")
    return int(bool(exceeded))


def against_highs(n: int, repetitions: int, limit: float) -> bool:
    """Compare on tournaments of n actions; True within the limit."""
    seconds: dict[str, list[float]] = {"nlhf": [], "HiGHS": []}
    worst, certified = {"nlhf": 0.0, "HiGHS": 0.0}, True
    for seed in range(repetitions + 1):
        advantage = tournament((n, n), seed)
        taken, result = timed(lambda game=advantage: nlhf.equilibrium(game + 0.5, beta=0.0))  # type: ignore[misc]
        programme_taken, programme = timed(lambda game=advantage: linear_programme(game))  # type: ignore[misc]
        if seed:  # the first call loads modules
            seconds["nlhf"].append(taken)
            seconds["HiGHS"].append(programme_taken)
        certified &= result.certified
        worst["nlhf"] = max(worst["nlhf"], result.exploitability)
        worst["HiGHS"] = max(worst["HiGHS"], float((advantage @ programme).max()))
    ratio = median(seconds["nlhf"]) / median(seconds["HiGHS"])
    record(f"n = {n}", ratio)
    for name in seconds:
        print(f"n = {n:<5} {name:6} {median(seconds[name]):9.5f} s, exploitability up to {worst[name]:.0e}")
    print(f"n = {n:<5} ratio {ratio:.3f}, limit {limit:.3g}{'' if certified else ', NOT CERTIFIED'}", flush=True)
    return ratio <= limit and certified


def batch() -> bool:
    """Solve many small games at once; True within the limit."""
    games, n = BATCH
    advantage = torch.from_numpy(tournament((games, n, n), 0))
    reference = torch.full((games, n), -np.log(n), dtype=torch.float64)
    taken, solved = min((timed(lambda: solve(advantage, reference, 0.0)) for _ in range(3)), key=lambda pair: pair[0])
    certified = bool(solved.certified.all())
    print(
        f"{games} games of {n}: {taken:.2f} s, limit {BATCH_LIMIT}{'' if certified else ', NOT CERTIFIED'}", flush=True
    )
    return taken <= BATCH_LIMIT and certified


def large() -> bool:
    """Compare one solution with its LU factorisations; True within the limit."""
    advantage = torch.from_numpy(tournament((1, LARGE, LARGE), 0))
    reference = torch.full((1, LARGE), -np.log(LARGE), dtype=torch.float64)
    factorise, factorisations = torch.linalg.lu_factor_ex, []

    def counted(matrix: torch.Tensor) -> object:
        taken, factors = timed(lambda: factorise(matrix))
        factorisations.append(taken)
        return factors

    torch.linalg.lu_factor_ex = counted
    try:
        taken, solved = timed(lambda: solve(advantage, reference, 0.0))
    finally:
        torch.linalg.lu_factor_ex = factorise
    ratio, certified = taken / sum(factorisations), bool(solved.certified.all())
    print(
        f"n = {LARGE}: {taken:.1f} s, {ratio:.2f} times its {len(factorisations)} factorisations, limit {LARGE_LIMIT}"
        f"{'' if certified else ', NOT CERTIFIED'}"
    )
    return ratio <= LARGE_LIMIT and certified


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds and the result."""
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def tournament(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Advantages (..., n, n), uniform in [-1/2, 1/2] above the diagonal."""
    upper = np.triu(np.random.default_rng(seed).random(shape) - 0.5, 1)
    return upper - upper.swapaxes(-1, -2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help="up to 100 actions")
    length.add_argument("--long", action="store_true", help=f"{LARGE} actions, too")
    options = parser.parse_args()
    sys.exit(main(options.short, options.long))

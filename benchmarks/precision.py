"""What answers in float32 save, and what they cost: seconds an iteration beside float64, and how far both come.

Measured: blocks of iterations of Nash-MP without rows, the two precisions in turn, in one process and one thread; then,
on smaller games, the queries to a certified exploitability and the smallest one that is reached. All that is graded
is graded in float64.

Run from the checkout: python -m benchmarks.precision. The last line gives the smallest ratio of seconds among games
whose queries are long, and the limit; exit code 1 if it is below, or if single precision needs a tenth more queries.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.iteration import NoRecorder, assembled, seconds

THREADS, LIMIT, QUERIES = 1, 1.4, 1.1
ROUNDS, BLOCK_SECONDS = 9, 0.2
TARGET, LENGTH = 1e-11, 2000
LARGE = {
    "matrix n=4096, S=1": ["game=random_tournament", "game.actions=4096"],
    "matrix n=256, S=64": ["game=random_tournament", "game.actions=256", "seeds=64"],
    "one matrix n=2000, S=64": ["game=circle", "game.actions=2000", "reference=random", "seeds=64"],
    "low rank n=200000, d=64": ["game=low_rank", "game.actions=200000", "game.rank=64"],
    "sigmoid-linked n=10^4": ["game=general_preference", "game.actions=10000"],
}
SMALL = {name: [f"game={name}", "reference=random", "seeds=5"] for name in
         ("tversky", "random_tournament", "low_rank", "general_preference", "vicuna")}  # fmt: skip


class Grades(NoRecorder):
    """Keeps the exploitability of every row, by seed."""

    def __init__(self) -> None:
        self.found: dict[int, list[tuple[int, float]]] = {}

    def row(self, seed: int, values: dict[str, Any], policy: Any) -> None:
        self.found.setdefault(seed, []).append((values["queries"], values["exploitability"]))


def main() -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        common = [f"runs_dir={folder}", "equilibrium=never", "beta=0.05"]
        ratios = [ratio(name, [*common, *words]) for name, words in LARGE.items()]
        more = [further(name, [*common, *words]) for name, words in SMALL.items()]
    print(f"most queries of single precision over those of double: {max(more):.3f} of at most {QUERIES:g}")
    print(f"least seconds of double precision over those of single: {min(ratios):.2f} of at least {LIMIT:g}")
    return int(min(ratios) < LIMIT or max(more) > QUERIES)


def ratio(name: str, words: Sequence[str]) -> float:
    """The median over rounds of seconds in double over seconds in single precision."""
    trainers = []
    for dtype in ("float64", "float32"):
        with assembled([*words, f"dtype={dtype}"]) as (trainer, _):
            trainers.append(trainer)
    once = max(seconds(trainer._iterate, 2) / 2 for trainer in trainers)
    block = max(1, round(BLOCK_SECONDS / once))
    rounds = [[seconds(trainer._iterate, block) / block for trainer in trainers] for _ in range(ROUNDS)]
    double, single = np.median(rounds, 0)
    found = float(np.median(np.divide(*np.transpose(rounds))))
    print(f"{name:26} float64 {double * 1e3:8.2f} ms an iteration, float32 {single * 1e3:8.2f} ms, ratio {found:.2f}",
          flush=True)  # fmt: skip
    return found


def further(name: str, words: Sequence[str]) -> float:
    """Queries to the target, single over double precision, the largest of the seeds."""
    known = []
    for dtype in ("float64", "float32"):
        with assembled([*words, f"dtype={dtype}"]) as (trainer, _):
            grades = Grades()
            limits = replace(trainer.budget, iterations=LENGTH)
            trainer.recorder, trainer.budget, trainer.next_row[:] = grades, limits, 0
            trainer.run()
        rows = grades.found.values()
        known.append(([next((q for q, value in seed if value <= TARGET), np.inf) for seed in rows],
                      float(np.median([seed[-1][1] for seed in rows]))))  # fmt: skip
    (double, best), (single, reached) = known
    print(f"{name:26} reaches {reached:.1e} in single and {best:.1e} in double precision after {2 * LENGTH} queries")
    return max(np.divide(single, double))


if __name__ == "__main__":
    sys.exit(main())

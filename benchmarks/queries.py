"""What a preference query costs by the number of seeds S, contexts X and actions n and the rank d, and what limits it.

Measured: `payoff` of every kind of game over a range of sizes, against a model with four constants of the machine,
taken in the same process: B, bytes a second of reading a large array; F, multiplications a second of a large product of
matrices; T, hyperbolic tangents a second; H, entries a second of a weighted histogram; and L, seconds of the smallest
query.

    matrix, S games             max(8 S X n^2 / B, S X n^2 / F) + L      memory: every matrix is read once
    matrix, shared by S seeds   max(8 X n^2 / B, S X n^2 / F) + L        arithmetic, from some tens of seeds on
    low rank                    2 (8 S X n d / B) + L                    memory: two passes over the features
    sigmoid-linked, in tiles    S X n^2 (d / F + 1 / T) / 2 + L          tangents: each pair once
    Bradley-Terry               14 (11 * 8 n / B + n / H) + L             memory: eleven passes for each point

Arrays that fit into a cache are read faster than B: the model is an upper bound there.

Run from the checkout: python -m benchmarks.queries. The last line gives the largest ratio of a time to its model, and
the limit; exit code 1 if it is exceeded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlhf.games.linked import POINTS, scored, tiled
from nlhf.games.listed import numbered
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame

THREADS, LIMIT, ROUNDS = 1, 3.0, 3


def main() -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(THREADS)
    machine, worst = Machine(), 0.0
    for name, game, seeds, *work in cases():
        ratios = []
        for _ in range(ROUNDS):  # what the machine can do changes with what else it does
            limits = machine.limits(*work)
            taken = seconds(partial(game.payoff, uniform(seeds, len(game.contexts), len(game.items))))
            model = sum(limits.values()) - min(limits["memory"], limits["arithmetic"])
            ratios.append(taken / model)
        worst = max(worst, ratio := float(np.median(ratios)))
        print(f"{name:46} {taken * 1e3:9.3f} ms, model {model * 1e3:9.3f} ms, ratio {ratio:.2f}, "
              f"limited by {max(limits, key=lambda key: limits[key])}", flush=True)  # fmt: skip
    print(f"B = {8 / machine.reading / 1e9:.1f} GB/s, F = {1 / machine.product / 1e9:.1f} G multiplications/s, "
          f"T = {1 / machine.tangent / 1e6:.0f} M tangents/s, H = {1 / machine.entry / 1e6:.0f} M entries/s, "
          f"L = {machine.least * 1e6:.1f} us, {THREADS} thread")  # fmt: skip
    print(f"largest ratio of a query's time to its model: {worst:.2f} of at most {LIMIT:g}")
    return int(worst > LIMIT)


class Machine:
    """Seconds of the smallest parts, measured anew whenever limits are asked for."""

    def __init__(self) -> None:
        self.large, self.square = (torch.rand(shape, dtype=torch.float64) for shape in ((20_000_000,), (1000, 1000)))
        self.values = torch.rand(1 << 20, dtype=torch.float64)
        self.cells, self.small = (self.values * 10).long(), partial(matrix(1, 1, 3).payoff, uniform(1, 1, 3))

    def limits(self, traffic: float, products: float, curved: float, counted: float) -> dict[str, float]:
        """Seconds for so many numbers that are read, multiplications, tangents and entries of histograms."""
        self.reading = seconds(self.large.sum, 0.1) / self.large.numel()
        self.product = seconds(lambda: self.square @ self.square, 0.1) / len(self.square) ** 3
        self.tangent = seconds(self.values.tanh, 0.1) / self.values.numel()
        self.entry = seconds(lambda: torch.bincount(self.cells, self.values, 10), 0.1) / self.values.numel()
        self.least = seconds(self.small, 0.05)
        return {"memory": traffic * self.reading, "arithmetic": products * self.product,
                "tangents": curved * self.tangent, "histograms": counted * self.entry,
                "launch": self.least}  # fmt: skip


def cases() -> Iterator[tuple[str, Any, int, float, float, float, float]]:
    """Name, game, seeds; numbers that are read, multiplications, tangents and entries of histograms of a query."""
    for seeds, contexts, n in ((1, 1, 300), (1, 1, 3000), (16, 1, 1000), (4, 64, 100), (1, 1000, 100)):
        size = seeds * contexts * n * n
        yield f"matrix S={seeds} X={contexts} n={n}", matrix(seeds, contexts, n), seeds, size, size, 0, 0
    for seeds, n in ((16, 2000), (256, 2000), (256, 300)):
        yield f"shared matrix S={seeds} n={n}", matrix(1, 1, n), seeds, n * n + seeds * n, seeds * n * n, 0, 0
    for contexts, n, rank in ((1, 100_000, 8), (1, 1_000_000, 8), (1, 1_000_000, 32), (10_000, 100, 8)):
        size = contexts * n * rank
        yield f"low rank X={contexts} n={n} d={rank}", LowRank(n, rank, contexts, 1.5).build([0]), 1, 2 * size, 0, 0, 0
    rng = np.random.default_rng(0)
    for n, width in ((5_000, 8), (20_000, 8), (20_000, 64)):
        game = tiled([rng.standard_normal((n, width))])
        yield f"sigmoid-linked n={n} d={width}", game, 1, 0, n * n * width / 2, n * n / 2, 0
    for n in (100_000, 1_000_000):
        yield f"Bradley-Terry n={n}", scored([rng.standard_normal((1, n))]), 1, 11 * POINTS * n, 0, 0, POINTS * n


def matrix(games: int, contexts: int, n: int) -> MatrixGame:
    """Numbers, preferences or not."""
    return MatrixGame(torch.rand(games, contexts, n, n, dtype=torch.float64), numbered("a", n), numbered("x", contexts))


def uniform(seeds: int, contexts: int, n: int) -> Tensor:
    """Probabilities (S, X, n)."""
    return torch.full((seeds, contexts, n), 1 / n, dtype=torch.float64)


def seconds(call: Callable[[], object], least: float = 0.2) -> float:
    """The fastest of the calls that fit into some time: others wait for a core."""
    call()
    taken: list[float] = []
    while sum(taken) < least or len(taken) < 3:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())

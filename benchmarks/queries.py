"""What a preference query costs by the number of seeds S, contexts X and actions n and the rank d, and what limits it.

Measured: `payoff` of every kind of game over a range of sizes, against a model with four constants of the machine,
taken in the same process: B, bytes a second of reading a large array; F, multiplications a second of a large product of
matrices; T, hyperbolic tangents a second; and L, seconds of the smallest query.

    matrix, S games             max(8 S X n^2 / B, S X n^2 / F) + L      memory: every matrix is read once
    matrix, shared by S seeds   max(8 X n^2 / B, S X n^2 / F) + L        arithmetic, from some tens of seeds on
    low rank                    2 (8 S X n d / B) + L                    memory: two passes over the features
    sigmoid-linked, in tiles    S X n^2 (d / F + 1 / T) / 2 + L          tangents: each pair once
    Bradley-Terry               28 passes over n numbers, 8 bytes each   memory

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

from nlhf.games.base import numbered
from nlhf.games.linked import POINTS, scored, tiled
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame

THREADS, LIMIT = 2, 2.5


def main() -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(THREADS)
    large, square = torch.rand(40_000_000, dtype=torch.float64), torch.rand(2000, 2000, dtype=torch.float64)
    values = torch.rand(1 << 20, dtype=torch.float64)
    bytes_read = 8 * large.numel() / seconds(large.sum)
    multiplied = square.numel() * len(square) / seconds(lambda: square @ square)
    tangents = values.numel() / seconds(values.tanh)
    least = seconds(partial(matrix(1, 1, 3).payoff, uniform(1, 1, 3)))
    print(f"B = {bytes_read / 1e9:.1f} GB/s, F = {multiplied / 1e9:.1f} G multiplications/s, "
          f"T = {tangents / 1e6:.0f} M tangents/s, L = {least * 1e6:.1f} us, {THREADS} threads")  # fmt: skip
    worst = 0.0
    for name, game, seeds, traffic, products, curved in cases():
        taken = seconds(partial(game.payoff, uniform(seeds, len(game.contexts), len(game.items))))
        model = max(8 * traffic / bytes_read, products / multiplied) + curved / tangents + least
        limits = {"memory": 8 * traffic / bytes_read, "arithmetic": products / multiplied,
                  "tangents": curved / tangents, "launch": least}  # fmt: skip
        worst = max(worst, ratio := taken / model)
        print(f"{name:46} {taken * 1e3:9.3f} ms, model {model * 1e3:9.3f} ms, ratio {ratio:.2f}, "
              f"limited by {max(limits, key=lambda key: limits[key])}", flush=True)  # fmt: skip
    print(f"largest ratio of a query's time to its model: {worst:.2f} of at most {LIMIT:g}")
    return int(worst > LIMIT)


def cases() -> Iterator[tuple[str, Any, int, float, float, float]]:
    """Name, game, seeds; numbers that are read, multiplications, and tangents of a query."""
    for seeds, contexts, n in ((1, 1, 300), (1, 1, 3000), (16, 1, 1000), (4, 64, 100), (1, 1000, 100)):
        size = seeds * contexts * n * n
        yield f"matrix S={seeds} X={contexts} n={n}", matrix(seeds, contexts, n), seeds, size, size, 0
    for seeds, n in ((16, 2000), (256, 2000), (256, 300)):
        yield f"shared matrix S={seeds} n={n}", matrix(1, 1, n), seeds, n * n + seeds * n, seeds * n * n, 0
    for contexts, n, rank in ((1, 100_000, 8), (1, 1_000_000, 8), (1, 1_000_000, 32), (10_000, 100, 8)):
        size = contexts * n * rank
        yield f"low rank X={contexts} n={n} d={rank}", LowRank(n, rank, contexts, 1.5).build([0]), 1, 2 * size, 0, 0
    rng = np.random.default_rng(0)
    for n, width in ((5_000, 8), (20_000, 8), (20_000, 64)):
        yield (
            f"sigmoid-linked n={n} d={width}",
            tiled([rng.standard_normal((n, width))]),
            1,
            0,
            n * n * width / 2,
            n * n / 2,
        )
    for n in (100_000, 1_000_000):
        yield f"Bradley-Terry n={n}", scored([rng.standard_normal((1, n))]), 1, 2 * POINTS * 3 * n, 0, 0


def matrix(games: int, contexts: int, n: int) -> MatrixGame:
    """Numbers, preferences or not."""
    return MatrixGame(torch.rand(games, contexts, n, n, dtype=torch.float64), numbered("a", n), numbered("x", contexts))


def uniform(seeds: int, contexts: int, n: int) -> Tensor:
    """Probabilities (S, X, n)."""
    return torch.full((seeds, contexts, n), 1 / n, dtype=torch.float64)


def seconds(call: Callable[[], object], least: float = 0.3) -> float:
    """The fastest third of the calls that fit into some time, their mean."""
    call()
    taken: list[float] = []
    while sum(taken) < least or len(taken) < 3:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.mean(sorted(taken)[: -(-len(taken) // 3)]))


if __name__ == "__main__":
    sys.exit(main())

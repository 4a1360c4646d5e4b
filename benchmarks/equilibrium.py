"""How long a reference equilibrium takes, and how good it is.

Measured: `reference_equilibrium.solve` on games of n = 1000 actions with beta from 1e-1 to 1e-4, preferences uniform in
[0, 1] or 0/1, and a reference that is uniform or has logits of standard deviation 30; and at beta = 0 (interior point),
n = 100, 500 and 1000. From products alone: a game of rank 8 with a million actions, for beta = 1e-1 and 1e-2, and for
beta = 0 with ten thousand. And 5,120 games of 8 actions at once, as many as 80 contexts and 64 bootstrap seeds make.
Float64, two threads. `benchmarks.unregularised` compares beta = 0 with linear programmes.

Run from the checkout: python -m benchmarks.equilibrium [--actions 1000]. The last line gives the longest time and its
limit, and the problems that took longer or whose exploitability does not certify them; exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria import solve as reference_equilibrium
from nlhf.equilibria.certificates import Equilibrium
from nlhf.games.low_rank import LowRank

THREADS = 2
LIMIT = 30.0  # seconds
BETAS = (1e-1, 1e-2, 1e-3, 1e-4)
KINDS = ("uniform", "0/1", "reference of std 30")


def main(actions: int) -> int:
    """Solve all problems, print, and return the exit code."""
    torch.set_num_threads(THREADS)
    short, longest = [], 0.0
    for n, beta, kind in problems(actions):
        advantage, log_reference = game(n, kind)
        started = time.perf_counter()
        found = reference_equilibrium.solve(advantage, log_reference, beta)
        taken = time.perf_counter() - started
        longest = max(longest, taken)
        certified = bool(found.certified)
        if taken > LIMIT or not certified:
            short.append(f"n={n} beta={beta:g} {kind}")
        print(
            f"n={n:<5} beta={beta:<7g} {kind:20} {taken:6.2f} s  exploitability {float(found.exploitability):.1e}, "
            f"floor {float(found.floor):.1e}, {'certified' if certified else 'NOT CERTIFIED'}",
            flush=True,
        )
    for words, call in structured():
        started = time.perf_counter()
        found = call()
        taken = time.perf_counter() - started
        longest = max(longest, taken)
        certified = bool(found.certified.all())
        if taken > LIMIT or not certified:
            short.append(words)
        print(f"{words:47} {taken:6.2f} s  exploitability {float(found.exploitability.max()):.1e}, "
              f"{found.method}, {'certified' if certified else 'NOT CERTIFIED'}", flush=True)  # fmt: skip
    print(f"longest {longest:.1f} s of at most {LIMIT:.0f}; fall short: {'; '.join(short) or 'none'}")
    return int(bool(short))


def problems(actions: int) -> Iterator[tuple[int, float, str]]:
    """Size, beta and kind of every problem."""
    yield from ((actions, beta, kind) for beta in BETAS for kind in KINDS)
    yield from ((n, 0.0, kind) for n in (actions // 10, actions // 2, actions) for kind in KINDS[:2])


def structured() -> Iterator[tuple[str, Callable[[], Equilibrium]]]:
    """The name and the solution of problems that are large in another way."""
    for n, beta in ((1_000_000, 0.1), (1_000_000, 0.01), (10_000, 0.0)):
        known, uniform = LowRank(n, 8, 1, 1.5).build([0]), torch.full((1, 1, n), -np.log(n), dtype=torch.float64)
        yield f"n={n} beta={beta:g} rank 8", partial(reference_equilibrium.solve_matrix_free, known, uniform, beta)
    rng = np.random.default_rng(0)
    half = np.triu(rng.random((5120, 8, 8)) - 0.5, k=1)
    advantage = torch.from_numpy(half - half.swapaxes(1, 2))
    for beta in BETAS[:3]:
        uniform = torch.full((5120, 8), -np.log(8), dtype=torch.float64)
        yield f"5120 games of 8, beta={beta:g}", partial(reference_equilibrium.solve, advantage, uniform, beta)


def game(n: int, kind: str) -> tuple[Tensor, Tensor]:
    """Advantages (1, n, n) and log reference (1, n), the same at every call."""
    rng = np.random.default_rng(n)
    drawn = rng.random((n, n))
    half = np.triu((np.round(drawn) if kind == "0/1" else drawn) - 0.5, k=1)
    advantage = (half - half.T)[None]
    logits = rng.standard_normal((1, n)) * (30 if kind.startswith("reference") else 0)
    return torch.from_numpy(advantage), torch.from_numpy(logits).log_softmax(-1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=1000, help="n of the largest problems")
    sys.exit(main(parser.parse_args().actions))

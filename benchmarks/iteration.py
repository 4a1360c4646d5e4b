"""What the trainer adds to the matrix products of an iteration.

Measured: an iteration of Nash-MP in `Trainer.run` while no row is due (update, running average, masks, counters, clock,
the loop's checks and its tick), over the two products with the preference matrix that it needs, written by hand with
the fastest of several torch calls for the same layout. Blocks of both alternate in one process, until the median of
their ratios is known to 1% or the time is up. Float64, two threads. And of five actions: an iteration less the torch
calls of its two proximal steps, written one behind the other. Where other processes use the cores, every threaded
call can wait a scheduler's slice for its second thread: then the ratio of the fastest tenths of both sides tells more.

Run from the checkout: python -m benchmarks.iteration [NAME ...]. The last line names the cases above their limit, or
says that there is none; exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.busy import record
from nlhf.budget import Budget, Progress
from nlhf.launch.compose import composed, plain
from nlhf.numerics import simplex
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from nlhf.runner.table_world import TableWorld
from nlhf.runner.trainer import Trainer

THREADS = 2
BLOCK_SECONDS = 0.05
PRECISION, FEWEST_PAIRS, CASE_SECONDS = 0.01, 100, 25.0
OVERHEAD = 60.0  # microseconds that the trainer may add to an iteration on five actions
ENDLESS = Budget(queries=2**62, iterations=None, seconds=None, target=0.0)  # the default's limits, out of reach

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A game, and the largest ratio that is good enough."""

    name: str
    actions: int
    seeds: int
    limit: float
    shared: bool = False

    def overrides(self, folder: Path) -> list[str]:
        """What composes this case; a shared matrix comes from a file, and the seeds differ by their references."""
        common = [f"seeds={self.seeds}", f"runs_dir={folder}", "equilibrium=never"]
        if not self.shared:
            return [*common, "game=random_tournament", f"game.actions={self.actions}"]
        upper = np.triu(np.random.default_rng(0).random((self.actions, self.actions)), k=1)
        preference = upper + np.tril(1 - upper.T, k=-1) + 0.5 * np.eye(self.actions)
        np.save(folder / "preference.npy", preference)
        return [*common, "game=matrix", f"game.path={folder / 'preference.npy'}", "reference=random"]


CASES = (
    Case("n=4096,S=1", 4096, 1, 1.25),
    Case("n=256,S=64", 256, 64, 1.2),
    Case("n=256,S=64,shared", 256, 64, 1.6, shared=True),
    Case("n=1000,S=1", 1000, 1, 1.3),
)


TINY = "n=5,S=1"


class NoRecorder:
    """Keeps nothing."""

    def row(self, seed: int, values: dict[str, Any], policy: Any) -> None: ...

    def checkpoint(self, content: dict[str, Any]) -> None: ...


@dataclass
class Alternation:
    """A tick that times blocks of iterations, each followed by so many bare calls for each of them."""

    bare_call: Call
    calls: int
    block: int
    trainer: list[float] = field(default_factory=list)  # seconds an iteration
    bare: list[float] = field(default_factory=list)  # seconds of the bare calls of an iteration
    count: int = 0

    def __post_init__(self) -> None:
        self.deadline = time.perf_counter() + CASE_SECONDS
        self.began = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        self.count += 1
        if self.count < self.block:
            return
        middle = time.perf_counter()
        seconds(self.bare_call, self.calls * self.block)
        end = time.perf_counter()
        self.trainer.append((middle - self.began) / self.block)
        self.bare.append((end - middle) / self.block)
        self.count, self.began = 0, time.perf_counter()

    def finished(self) -> bool:
        """Is the median known well enough, or the time up? Asked after every iteration, answered after a block."""
        if self.count or len(self.bare) < FEWEST_PAIRS or len(self.bare) % 10:
            return False
        low, middle, high = self.ratio()
        self.began = time.perf_counter()
        return high - low < 2 * PRECISION * middle or self.began > self.deadline

    def ratio(self) -> tuple[float, float, float]:
        """The median ratio of neighbouring blocks, between the ends of its 95% interval (order statistics)."""
        ratios = np.sort(np.array(self.trainer) / np.array(self.bare))
        margin = math.ceil(math.sqrt(len(ratios)))
        middle = len(ratios) // 2
        return float(ratios[middle - margin]), float(np.median(ratios)), float(ratios[middle + margin])


def main(names: Sequence[str]) -> int:
    """Measure the named cases, or all; the number of those above their limit."""
    torch.set_num_threads(THREADS)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
    above = []
    for case in CASES:
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder, assembled(case.overrides(Path(folder))) as (trainer, world):
            bare = fastest(products(world.game.dense(), trainer.policy.probabilities))
            alternation = alternate(trainer, bare, calls=2)
        low, ratio, high = alternation.ratio()
        record(case.name, ratio)
        above += [case.name] if ratio > case.limit else []
        quick = [1e6 * float(np.quantile(side, 0.1)) for side in (alternation.trainer, alternation.bare)]
        print(f"{case.name:18} ratio {ratio:.3f} [{low:.3f}, {high:.3f}] of at most {case.limit}; fastest tenths "
              f"{quick[0] / quick[1]:.3f} ({quick[0]:.0f} us, bare {quick[1]:.0f} us); "
              f"{len(alternation.bare)} pairs of {alternation.block}", flush=True)  # fmt: skip
    if not names or TINY in names:
        with tempfile.TemporaryDirectory() as folder, assembled(Case(TINY, 5, 1, 0).overrides(Path(folder))) as parts:
            alternation = alternate(parts[0], by_hand(*parts), calls=1)
        added = 1e6 * float(np.median(np.subtract(alternation.trainer, alternation.bare)))
        above += [TINY] if added > OVERHEAD else []
        print(f"{TINY:18} the trainer adds {added:.0f} us to {1e6 * np.median(alternation.bare):.0f} us, at most "
              f"{OVERHEAD:g}; {len(alternation.bare)} pairs of {alternation.block}", flush=True)  # fmt: skip
    print(f"above the limit: {'; '.join(above) or 'none'}")
    return len(above)


@contextmanager
def assembled(overrides: list[str]) -> Iterator[tuple[Trainer, TableWorld]]:
    """The trainer of a command line, with a budget that never ends and no row due, and its world."""
    logging.disable(logging.WARNING)
    with composed(overrides) as config:
        run = specify(plain(config))
    world = assemble(run)
    trainer = world.trainer(replace(run, budget=ENDLESS), NoRecorder())
    trainer.next_row[:] = np.iinfo(np.int64).max
    yield trainer, world


def alternate(trainer: Trainer, bare: Call, calls: int) -> Alternation:
    """Run the trainer with an alternation as its tick; an iteration takes so many bare calls."""
    alternation = Alternation(bare, calls, max(1, round(BLOCK_SECONDS / (seconds(bare, 20) / 20 * calls))))
    trainer.tick, trainer.interrupted = alternation, alternation.finished
    trainer.run()
    if (trainer.progress.queries != 2 * trainer.progress.iterations).any():
        raise RuntimeError("an iteration did not ask two queries: the bare side counts two products.")
    return alternation


def by_hand(trainer: Trainer, world: TableWorld) -> Call:
    """The torch calls of the two proximal steps of an iteration."""
    anchor, reference, advantage = trainer.policy.log_probabilities, world.log_reference, world.game.dense()[:, 0]
    pull, gain = simplex.step_weights(world.beta, trainer.algorithm.step_size)

    def step(opponent: Tensor) -> Tensor:
        answer = torch.bmm(opponent.exp(), advantage.mT)
        return anchor.lerp(reference, pull).addcmul_(answer, gain).log_softmax(-1)

    return lambda: step(step(anchor))


def products(advantage: Tensor, probabilities: Tensor) -> Sequence[Call]:
    """Ways to ask a game, advantages (1 or S, 1, n, n), about policies (S, 1, n); A is skew: either side will do."""
    sides, rows = (advantage[:, 0], advantage[:, 0].mT), probabilities.clone()
    if len(advantage) < len(rows):  # the seeds share the matrix
        table = rows[:, 0]
        calls = [partial(torch.mm, table, side[0]) for side in sides]
        return calls + [partial(torch.mm, side[0], table.T) for side in sides]
    calls = [partial(torch.bmm, rows, side) for side in sides] + [partial(torch.bmm, side, rows.mT) for side in sides]
    if len(rows) == 1:
        calls += [partial(torch.mv, side[0], rows[0, 0]) for side in sides]
    return calls


def fastest(calls: Sequence[Call]) -> Call:
    """The call with the lowest median of 100 rounds."""
    rounds = [[seconds(call, 3) for call in calls] for _ in range(100)]
    return calls[int(np.median(rounds, axis=0).argmin())]


def seconds(call: Call, times: int) -> float:
    """How long so many calls take."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"cases: {', '.join(case.name for case in CASES)}, {TINY}")
    sys.exit(min(1, main(parser.parse_args().names)))

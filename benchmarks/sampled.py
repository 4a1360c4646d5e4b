"""What sampled gradient steps cost, what grading adds to a run of them, and whether torch.compile pays.

Measured: (a) an iteration of nash_prox (one step of Adam on the ipo loss, 32 contexts, 4 pairs in each) on a perceptron
for 16 seeds over one for a single seed; (b) an iteration with 256 contexts and one pair in each, on a game of 100
actions and 512 contexts, for a perceptron and a table, one seed; (c) the share of rows (metrics and their record) in
`Trainer.run` over 2000 iterations, files and equilibrium included; (d) the learner's forward pass, and the whole loss
with its draws given, both with the gradient, as they are and compiled. Blocks alternate in one process, two threads.
The medians are judged. Where other processes use the cores, every threaded call can wait a scheduler's slice for its
second thread: then the fastest tenths tell more.

Run from the checkout: python -m benchmarks.sampled [NAME ...]. The last lines are the ratios and costs with their
limits; exit code 1 if one is exceeded. (d) has no limit.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.iteration import THREADS, assembled, seconds
from nlhf.budget import Budget
from nlhf.folder import RunFolder
from nlhf.world import trainer_of

SEEDS_LIMIT, STEP_LIMIT, ROWS_LIMIT = 3.0, 5.0, 0.10  # a ratio, milliseconds, a share
BLOCK_SECONDS, ROUNDS = 0.02, 200
ITERATIONS = 2000

NASH_PROX = ["algorithm=nash_prox", "prox=gradient", "game=contextual"]
MLP = ["policy=mlp", "policy.hidden=[128,128,128]"]
LARGE = [*NASH_PROX, "game.actions=100", "game.contexts=512", "prox.contexts=256", "prox.samples=2"]
CASES = {
    "1 seed": [*NASH_PROX, *MLP],
    "16 seeds": [*NASH_PROX, *MLP, "seeds=16"],
    "large, mlp": [*LARGE, *MLP],
    "large, tabular": [*LARGE, "policy=tabular"],
}

Call = Callable[[], object]
Limited = tuple[str, float, float]  # what was measured, its value, its limit


def main(names: list[str]) -> int:
    """Measure the named parts, or all; the number of limits that are exceeded."""
    torch.set_num_threads(THREADS)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
    limited: list[Limited] = []
    for name, part in PARTS.items():
        if not names or name in names:
            limited += part()
    for words, value, limit in limited:
        print(f"{words}: {value:.3f} of at most {limit:g}{' EXCEEDED' if value > limit else ''}")
    return sum(value > limit for _, value, limit in limited)


def steps() -> list[Limited]:
    """(a) and (b): iterations while no row is due."""
    with ExitStack() as stack:
        calls = {name: trainer._iterate for name, trainer in trainers(stack, CASES).items()}
        taken = alternate(calls)
    for name, values in taken.items():
        print(f"iteration, {name:15} {told(values)}")
    ratio, *ends = ratio_of(taken["16 seeds"], taken["1 seed"])
    quick = np.quantile(taken["16 seeds"], 0.1) / np.quantile(taken["1 seed"], 0.1)
    print(f"16 seeds over one: {ratio:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]; fastest tenths {quick:.3f}", flush=True)
    large = [name for name in CASES if name.startswith("large")]
    costs = [(f"milliseconds of a step, {name}", 1e3 * float(np.median(taken[name])), STEP_LIMIT) for name in large]
    return [("16 seeds over one", ratio, SEEDS_LIMIT), *costs]


def rows() -> list[Limited]:
    """(c): whole runs, with the files that they leave."""
    return [(f"share of rows in {ITERATIONS} iterations, {name}", share(name), ROWS_LIMIT) for name in CASES]


def share(name: str) -> float:
    """The part of a run's time that its rows take."""
    rows: list[float] = []
    budget = Budget(queries=None, iterations=ITERATIONS, seconds=None, target=None)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        run, world = stack.enter_context(assembled([*CASES[name], f"runs_dir={folder}"], whole=True))
        run = replace(run, budget=budget)
        run.folder.mkdir(parents=True)
        trainer = trainer_of(run, world, RunFolder(run, world))
        record = trainer._record
        trainer._record = lambda *due, **kind: rows.append(seconds(partial(record, *due, **kind), 1))  # type: ignore
        whole = seconds(trainer.run, 1)
    print(f"run, {name:15} {whole:.2f} s, of it {sum(rows):.3f} s for {len(rows)} rows", flush=True)
    return sum(rows) / whole

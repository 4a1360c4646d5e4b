"""Seconds an iteration with one thread, with two threads that spin while they wait, and with nlhf's default.

Every measurement is a process of its own. The settings take turns, on the machine as it is and beside a loop that keeps
one core busy. On more than two cores the process may use two of them.

Run from the checkout: python -m benchmarks.threads [CASE ...]. The last line gives the largest ratio of the default to
the better of one and two threads, and the limit; exit code 1 if it is above. `language model` needs the extra lm.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import numpy as np

from benchmarks.busy import busy_loops

LIMIT, ROUNDS, SECONDS = 1.5, 3, 1.5
SPINS = {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "300000"}  # what GNU OpenMP does if nobody sets anything
SETTINGS: dict[str, dict[str, str]] = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2", **SPINS},
    "default": {},
}
CASES = {
    "default run": [],
    "n=100, equilibrium": ["game=random_tournament", "game.actions=100", "equilibrium=auto"],
    "64 seeds of n=256": ["game=random_tournament", "game.actions=256", "seeds=64"],
    "16 seeds of n=1000": ["game=random_tournament", "game.actions=1000", "seeds=16"],
    "language model": ["experiment=language_model", "algorithm=nash_prox_fast", "prox.contexts=4", "prox.samples=2",
                       "policy.max_new_tokens=12"],
}  # fmt: skip


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--one", action="store_true", help="measure one case in this process")
    options = parser.parse_args()
    if options.one:
        print(iteration(CASES[options.cases[0]]))
        return 0
    ratios = [ratio(name, busy) for name in options.cases or CASES for busy in (False, True)]
    print(f"largest ratio of the default to the better of one and two threads: {max(ratios):.2f} of at most {LIMIT:g}")
    return int(max(ratios) > LIMIT)


def ratio(name: str, busy: bool) -> float:
    """Median seconds of the default over those of the better setting."""
    with busy_loops(int(busy), cores=2):
        rounds = [[measured(name, environment) for environment in SETTINGS.values()] for _ in range(ROUNDS)]
    medians = dict(zip(SETTINGS, np.median(rounds, 0), strict=True))
    ratio = float(medians["default"] / min(medians["one thread"], medians["two threads"]))
    listed = ", ".join(f"{setting} {1e3 * seconds:.3g} ms" for setting, seconds in medians.items())
    print(f"{name:20} {'beside a busy loop' if busy else 'alone':20} {listed}: {ratio:.2f}", flush=True)
    return ratio


def measured(name: str, environment: Mapping[str, str]) -> float:
    """Seconds an iteration, in a process of its own on at most two cores."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "MKL_"))}
    command = [sys.executable, "-m", "benchmarks.threads", "--one", name]
    return float(
        subprocess.run(command, env=mine | dict(environment), check=True, capture_output=True, text=True).stdout
    )


def iteration(words: list[str]) -> float:
    """Median seconds of an iteration in this process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    from benchmarks.iteration import assembled

    with tempfile.TemporaryDirectory() as folder:
        common = [f"runs_dir={folder}", "equilibrium=never", "seeds=[0]"]
        with assembled([*common, *words]) as (trainer, _):
            trainer.prox.active[:] = True
            trainer._iterate()
            seconds, end = [], time.perf_counter() + SECONDS
            while time.perf_counter() < end or len(seconds) < 3:
                started = time.perf_counter()
                trainer._iterate()
                seconds.append(time.perf_counter() - started)
    return float(np.mean(seconds))


if __name__ == "__main__":
    sys.exit(main())

"""What an iteration of `secant` costs, and how long it takes to an exploitability of 1e-8 beside `nash_mp`.

Measured on random tournaments with beta = 0.05 and one seed, on one thread, in one process: the whole iteration of the
trainer while no row is due (update, average, counters), the smallest of several runs for each iteration; exploitability
is computed with the clock stopped. An iteration's own work is its time without one product P @ pi.

Run from the checkout: python -m benchmarks.secant [ACTIONS ...]. Limits: at 1,000 actions own work of ten products and
less time than `nash_mp`; at 100 actions three times the time of `nash_mp` and 0.5 milliseconds. The last line names
what exceeds its limit; exit code 1 if there is anything.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.busy import record
from benchmarks.iteration import Case, assembled, fastest, products, seconds
from nlhf.equilibria.metrics import exploitability_of

BETA, TARGET, ROUNDS = 0.05, 1e-8, 10
LIMITS = {  # actions: own work in products, in milliseconds, and the time to the target over that of nash_mp
    100: (np.inf, 0.5, 3.0),
    1000: (10.0, np.inf, 1.0),
}


def main(sizes: list[int]) -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(1)
    exceeded = []
    for actions in sizes:
        (slow, product), (quick, _) = race("nash_mp", actions), race("secant", actions)
        own, ratio = float(np.median(quick)) - product, quick.sum() / slow.sum()
        measured = (own / product, own * 1e3, ratio)
        names = ("products", "ms", "times nash_mp")
        for value, name, limit in zip(measured, names, LIMITS[actions], strict=True):
            if np.isfinite(limit):
                record(f"n = {actions}, {name}", value)
                print(f"n = {actions}: {value:.2f} {name} of at most {limit:g}", flush=True)
            if value > limit:
                exceeded.append(f"n = {actions}, {name}")
        print(f"n = {actions}: to {TARGET:g}, secant {quick.sum() * 1e3:.1f} ms in {len(quick)} iterations, "
              f"nash_mp {slow.sum() * 1e3:.1f} ms in {len(slow)}", flush=True)  # fmt: skip
    print(f"exceed their limit: {', '.join(exceeded) or 'none'}")
    return int(bool(exceeded))


def race(algorithm: str, actions: int) -> tuple[np.ndarray, float]:
    """Seconds of every iteration until the target, and of one product."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*Case("", actions, 1, 0).overrides(Path(folder)), f"algorithm={algorithm}", f"beta={BETA}"]
        with assembled(words) as (trainer, world):
            first, rounds = trainer.state, []
            for _ in range(ROUNDS):
                trainer.state, taken = first, []
                while not taken or exploitability(trainer, world) > TARGET:
                    taken.append(seconds(trainer._iterate, 1))
                rounds.append(taken)
            product = fastest(products(world.game.dense(), trainer.policy.probabilities))
            return np.min(rounds, axis=0), min(seconds(product, 3) / 3 for _ in range(100))


def exploitability(trainer: object, world: object) -> float:
    policy = trainer.state.policy  # type: ignore[attr-defined]
    answer = world.game.payoff(policy.probabilities)  # type: ignore[attr-defined]
    return exploitability_of(policy.log_probabilities, answer, world.log_reference, world.beta).item()  # type: ignore[attr-defined]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actions", nargs="*", type=int, default=list(LIMITS), help=f"of {', '.join(map(str, LIMITS))}")
    sys.exit(main(parser.parse_args().actions))

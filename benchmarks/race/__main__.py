"""A race to exploitability 1e-4, 1e-8 and 1e-12 against the tools that one would use instead of this package.

Games are random tournaments of 5 to 3,000 actions with a uniform reference, at beta = 0 and 0.05. Measured: seconds on
one thread, the smallest of up to five repetitions, until a policy has that exploitability. It is computed here in
float64 from the policy alone, with the clock stopped, whatever tolerance a tool reports. Imports and a first small game
are not measured. Each contestant solves each game in a process of its own.

* nlhf: `nlhf.equilibrium`, and learning algorithms by the iterations of their trainers;
* HiGHS (dual simplex, interior point, PDLP), and nashpy: linear programmes, at beta = 0 only;
* OpenSpiel: regret matching at beta = 0, magnetic mirror descent at beta > 0;
* autograd: the exploitability as the loss of logits, by Adam and by L-BFGS.

"> 60 s" is a miss of the time limit, "never" a tool that ended by itself; "reached" is the smallest exploitability. A
loop ends early if it would miss the next target even at twice the pace of its last ten seconds. A dash: missed on fewer
actions by more than a factor of two, and not tried again. Peers are in the extra bench; those that are not installed
are left out.

Run from the checkout: python -m benchmarks.race [--short | --long] [--rows FILE.csv]. Without options it takes about
ten minutes; --long adds 3,000 actions and takes 17. `benchmarks.race.figure` draws the rows. The last lines name the
games where a peer is faster to 1e-8, and those where nlhf misses a target; exit code 1 if there are any of the latter.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported

import argparse
import csv
import logging
import platform
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks.busy import record
from benchmarks.race.contestants import BETA, CONTESTANTS, ZERO
from benchmarks.race.game import Game, tournament
from benchmarks.race.process import Outcome, race

TARGETS = (1e-4, 1e-8, 1e-12)
SIZES, FEWER, LARGE = (5, 30, 100, 300, 1000), (5, 100), 3000  # actions
CLOSE = 2.0  # a target that was missed by less than this factor is tried on more actions, too
SECONDS, LESS = 60.0, 1.0  # the limit of one solution, and in the short version
PEERS = ("highspy", "nashpy", "open_spiel")


def main(short: bool, long: bool, rows: str | None) -> int:
    """Race, print, write, and return the exit code."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    missing = {contestant.package for contestant in CONTESTANTS if not contestant.installed}
    if missing:
        print(f"Not installed and left out: {', '.join(sorted(missing))} (extra bench).")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one thread; {versions()}")
    contestants = [contestant for contestant in CONTESTANTS if contestant.installed]
    table: dict[tuple[int, float], dict[str, Outcome]] = {}
    open_targets = {(contestant.name, beta): TARGETS for contestant in contestants for beta in contestant.betas}
    for beta in (ZERO, BETA):
        for actions in FEWER if short else (*SIZES, LARGE) if long else SIZES:
            game = Game(tournament(actions), beta, LESS if short else SECONDS)
            print(f"\n{f'{actions} actions, beta = {beta:g}':36}" + "".join(f"{f'to {t:g}':>24}" for t in TARGETS))
            outcomes = table.setdefault((actions, beta), {})
            for contestant in contestants:
                if beta not in contestant.betas:
                    continue
                outcome = race(contestant, game, open_targets[contestant.name, beta])
                open_targets[contestant.name, beta] = outcome.within(CLOSE)
                outcomes[contestant.name] = outcome
                print(f"{contestant.name:36}" + "".join(f"{outcome.cell(t):>24}" for t in TARGETS), flush=True)
    if rows:
        write(table, Path(rows))
    return verdict(table)


def versions() -> str:
    """Of the packages that race."""
    installed = []
    for name in ("torch", "numpy", "scipy", *PEERS):
        with suppress(ModuleNotFoundError):
            installed.append(f"{name} {version(name)}")
    return ", ".join(installed)


def write(table: dict[tuple[int, float], dict[str, Outcome]], path: Path) -> None:
    """One row for each contestant, game and target that it tried; `seconds` is empty where it was missed."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["actions", "beta", "contestant", "target", "seconds", "reached", "remark"])
        for (actions, beta), outcomes in table.items():
            for name, outcome in outcomes.items():
                for target in (*outcome.seconds, *outcome.missed):
                    missed = target in outcome.missed
                    writer.writerow([actions, beta, name, target, outcome.seconds.get(target, ""),
                                     outcome.best if missed else target, outcome.reason if missed else ""])  # fmt: skip


def verdict(table: dict[tuple[int, float], dict[str, Outcome]]) -> int:
    """Print where peers are faster to 1e-8 and what nlhf misses; 1 if it misses a target."""
    faster, missed = [], []
    for (actions, beta), outcomes in table.items():
        game = f"n = {actions}, beta = {beta:g}"
        ours = {name: outcome for name, outcome in outcomes.items() if name.startswith("nlhf")}
        missed += [f"{game} to {target:g}" for target in TARGETS if not any(target in o.seconds for o in ours.values())]
        quickest = [min(((o.seconds.get(TARGETS[1], np.inf), name) for name, o in group.items()), default=(np.inf, ""))
                    for group in (ours, {name: o for name, o in outcomes.items() if name not in ours})]  # fmt: skip
        if quickest[1][0] < np.inf:
            record(game, ratio := quickest[0][0] / quickest[1][0])
            faster += [f"{game}: {quickest[1][1]}, {ratio:.1f} times"] if ratio > 1 else []
    print(f"\na peer is faster to {TARGETS[1]:g}: {'; '.join(faster) or 'nowhere'}")
    print(f"missed by nlhf: {'; '.join(missed) or 'nothing'}")
    return int(bool(missed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help=f"{FEWER} actions, {LESS:g} seconds a solution")
    length.add_argument("--long", action="store_true", help=f"{LARGE} actions, too")
    parser.add_argument("--rows", help="a CSV file for the results")
    options = parser.parse_args()
    sys.exit(main(options.short, options.long, options.rows))

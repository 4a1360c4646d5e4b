"""How far the number of actions and of contexts can grow: time, memory, and whether the rate stays what it was.

Measured, each in a fresh process, by `nlhf run game=low_rank game.rank=8 beta=0.1 algorithm=nash_mp`: ten million
actions to exploitability 1e-8; the curves of 10, 10^3 and 10^5 actions beside it; and 10^5 contexts of 100 actions for
twenty iterations. Wall time and the peak of resident memory are those of the whole command, drawing the game included.

Run from the checkout: python -m benchmarks.scale [--actions 10000000]. The last line gives time and memory of the first
run and their limits; exit code 1 if one is exceeded, the target is missed, or the curves lie apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SECONDS, GIGABYTES, APART = 60.0, 4.0, 0.5  # the last one in decades of exploitability, from a hundred actions on
TARGET = 1e-8


def main(actions: int) -> int:
    """Measure, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        sizes = [10, 1_000, 100_000, actions]
        curves = {n: measured(Path(place, str(n)), f"game.actions={n}", f"budget.target={TARGET}") for n in sizes}
        wide = measured(Path(place, "wide"), "game.contexts=100000", "game.actions=100", "budget.iterations=20")
    for n, (taken, memory, rows, status) in curves.items():
        last = rows.iloc[-1]
        print(f"{n:>10} actions: {taken:6.1f} s, {memory:.2f} GB, exploitability {last.exploitability:.1e} after "
              f"{last.queries} queries, {status}")  # fmt: skip
    print(f"100000 contexts of 100 actions: {wide[0]:.1f} s, {wide[1]:.2f} GB, {wide[2].queries.iloc[-1]} queries")
    taken, memory, rows, status = curves[actions]
    gaps = [apart(rows, other) for n, (_, _, other, _) in curves.items() if 100 <= n < actions]
    print(f"curves of 1e3 and 1e5 actions lie within {max(gaps):.2f} decades of it (at most {APART})")
    print(f"{taken:.1f} s of at most {SECONDS:g}, {memory:.2f} GB of at most {GIGABYTES:g}")
    missed = rows.exploitability.iloc[-1] > TARGET or status != "completed"
    return int(taken > SECONDS or memory > GIGABYTES or missed or max(gaps) > APART)


def measured(folder: Path, *words: str) -> tuple[float, float, pd.DataFrame, str]:
    """Wall time, peak memory in GB, rows and status of a run in a process of its own."""
    command = [sys.executable, "main.py", "game=low_rank", "game.rank=8", "beta=0.1", "algorithm=nash_mp",
               "equilibrium=never", "budget.queries=400", "budget.target=null", "progress=false",
               f"runs_dir={folder}", "study=run", *words]  # fmt: skip
    started = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])  # fmt: skip
    _, _, usage = os.wait4(child, 0)
    taken = time.perf_counter() - started
    (rows,) = folder.glob("run/*/metrics.csv")
    status = json.loads((rows.parent / "summary.json").read_text(encoding="utf-8"))["status"]
    return taken, usage.ru_maxrss / 1e6, pd.read_csv(rows), status


def apart(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """The largest distance of two curves over their common rows, in decades."""
    both = first.merge(second, on="iteration").query("exploitability_x > 1e-14 and exploitability_y > 1e-14")
    return float(np.abs(np.log10(both.exploitability_x / both.exploitability_y)).max())


if __name__ == "__main__":
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=10_000_000, help="of the largest game")
    sys.exit(main(parser.parse_args().actions))

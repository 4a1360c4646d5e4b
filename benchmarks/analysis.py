"""How long a study of thousands of runs takes to load and to report, and how much memory.

Measured on 2,000 synthetic runs of 200 rows (10 algorithms x 10 games x 20 seeds, a seed a run), in fresh processes:
`load` without a cache, `load` from its cache, the whole command `nlhf compare` with its figures and page,
and the largest peak of resident memory of these; imports count for memory, and for the time of the command alone.
Numbers
read from the cache are compared with those read from the runs.

Run from the checkout: python -m benchmarks.analysis [--runs 2000]. The last line gives times, memory and their limits;
exit code 1 if one is exceeded or the numbers differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.analysis.synthetic import write_run

ROOT = Path(__file__).resolve().parents[1]
ROWS = 200
ALGORITHMS = ("nash_mp", "adaptive_nash_mp", "optimistic", "adaptive_optimistic", "proximal_point", "mpo", "omd",
              "nash_md", "egpo", "comal")  # fmt: skip
GAMES = ("random_tournament", "deterministic_tournament", "spinning_top", "general_preference", "circle", "annotators",
         "bradley_terry", "votes", "contextual", "matrix")  # fmt: skip
LIMITS = {"cold": 20.0, "cached": 2.0, "report": 60.0, "memory": 2.0}  # seconds, but GB of memory
LOAD = """
import json, resource, sys, time
import pandas as pd
from nlhf.analysis.study import load
started = time.perf_counter()
data = load(sys.argv[1])
taken = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
digest = int(pd.util.hash_pandas_object(data, index=True).sum())
print(json.dumps({"seconds": taken, "memory": peak / 1e9, "rows": len(data), "digest": digest}))
"""


def main(runs: int) -> int:
    """Write a study, load it twice, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_study(Path(folder), runs)
        print(f"{runs} runs x {ROWS} rows written in {time.perf_counter() - started:.1f} s", flush=True)
        time.sleep(2.5)  # files that were written a moment ago are not taken from a cache
        cold = measured(folder)
        cached = measured(folder)
        report = reported(folder)
    found = {
        "cold": cold["seconds"],
        "cached": cached["seconds"],
        "report": report["seconds"],
        "memory": max(run["memory"] for run in (cold, cached, report)),
    }
    same = cold["digest"] == cached["digest"] and cold["rows"] == runs * ROWS
    print(f"{cold['rows']} rows; read from the cache they are {'the same' if same else 'OTHERS'}")
    units = {"memory": "GB"}
    told = (f"{name} {found[name]:.2f} {units.get(name, 's')} of at most {limit:g}" for name, limit in LIMITS.items())
    print("; ".join(told))
    return int(not same or any(found[name] > limit for name, limit in LIMITS.items()))


def write_study(root: Path, runs: int) -> None:
    """So many runs of one seed each, every one with a rate of its own."""
    rng = np.random.default_rng(0)
    iterations = np.arange(ROWS)
    for number in range(runs):
        seed, place = divmod(number, len(ALGORITHMS) * len(GAMES))
        algorithm, game = ALGORITHMS[place % len(ALGORITHMS)], GAMES[place // len(ALGORITHMS)]
        values = 0.1 * np.exp(-iterations * rng.uniform(0.02, 0.1) + 0.1 * rng.standard_normal(ROWS))
        curve = list(zip(iterations.tolist(), (2 * iterations).tolist(), values.tolist(), strict=True))
        others = {name: {seed: rng.random(ROWS).tolist()} for name in ("average_exploitability", "entropy", "kl_bound",
                  "kl_to_reference", "span_to_equilibrium", "win_rate_vs_reference", "step_size")}  # fmt: skip
        write_run(root, algorithm, game, curves={seed: curve}, extra=others, **config(root))


def config(root: Path) -> dict[str, Any]:
    """What the config of a run holds besides its names."""
    return {
        "device": "cpu", "equilibrium": "auto", "log_policy": False, "study": root.name, "runs_dir": str(root.parent),
        "progress": False, "keep_checkpoint": True, "checkpoint_seconds": 30, "game__actions": 100, "game__contexts": 1,
        "reference___target_": "nlhf.references.base.Uniform", "policy___target_": "nlhf.policies.tabular.Tabular",
        "algorithm__step_size": "theory", "prox___target_": "nlhf.prox.exact.ExactProx",
        "budget___target_": "nlhf.budget.Budget", "budget__queries": 1000, "budget__iterations": None,
        "budget__seconds": None, "budget__target": 1e-12,
    }  # fmt: skip


def measured(folder: str) -> dict[str, Any]:
    """Seconds, memory in GB and a digest of what a fresh process loads."""
    command = [sys.executable, "-c", LOAD, folder]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reported(folder: str) -> dict[str, float]:
    """Seconds and memory in GB of the whole command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "nlhf", "compare", folder]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        raise subprocess.CalledProcessError(code, command)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": time.perf_counter() - started, "memory": peak / 1e9}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="how many runs of 200 rows")
    sys.exit(main(parser.parse_args().runs))

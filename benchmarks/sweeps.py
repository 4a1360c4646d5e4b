"""How long a sweep of a thousand runs takes, to run and to skip; a status of ten thousand; what survives kill -9.

Measured, as whole commands from the first import to the last file:
* 1,000 runs (10 algorithms x 100 single seeds, 100 actions, 1,000 queries each) by hydra/launcher=pool, two workers,
  and a tenth of them: the difference, less the seconds of the iterations, is what a run costs above them;
* the same with vectorise=true, in another study;
* the same command again, which finds them all completed;
* `nlhf status` on 10,000 run folders (copies of these);
* a sweep by the pool during which workers are killed at random, a hundred times: its rows, policies and summaries are
  compared with those of an undisturbed one, bit for bit, and no file may be torn or left over.

Run from the checkout: python -m benchmarks.sweeps [--runs 1000] [--folders 10000] [--kills 100]. The last line gives
the times and their limits; exit code 1 if one is exceeded or a result differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.busy import record
from tests.launch.commands import MAIN, SLOW, process, results, workers

ALGORITHMS = ("nash_mp", "omd", "self_play", "nash_md", "optimistic", "egpo", "sppo", "proximal_point",
              "adaptive_nash_mp", "adaptive_optimistic")  # fmt: skip
RUNS, LIMITS = 1000, {"run": 60.0, "vectorised": 15.0, "skip": 5.0, "status": 5.0}  # seconds for so many runs
ABOVE = 0.015  # seconds of a run above its iterations, on two workers
POOL = ("hydra/launcher=pool", "hydra.launcher.workers=2", "hydra.launcher.deaths=1000")


def main(runs: int, folders: int, kills: int) -> int:
    """Measure all four, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        few, sweep = ([
            "-m", *POOL, f"algorithm={','.join(ALGORITHMS)}", f"seeds={','.join(f'[{seed}]' for seed in range(count))}",
            "game=random_tournament", "game.actions=100", "budget.queries=1000", "budget.target=null",
            f"runs_dir={place}", f"study={study}"
        ] for count, study in ((runs // 100, "few"), (runs // 10, "s")))  # fmt: skip
        start = timed(few, f"{runs // 10} completed")
        found = {"run": timed(sweep, f"{runs} completed")}
        above = (found["run"] - start) / (runs - runs // 10) - iterations(Path(place) / "s") / 2
        record("milliseconds of a run above its iterations", 1e3 * above)
        found["vectorised"] = timed([*sweep[:-1], "study=v", "vectorise=true"], f"{runs} completed")
        found["skip"] = timed(sweep, f"{runs} skipped")
        multiply(Path(place) / "s", folders)
        found["status"] = status(Path(place) / "s", f"{folders} completed")
    same = survived(kills)
    started = 0 if runs >= RUNS else 3  # seconds that interpreters take to start, however few the runs
    limits = {name: limit * min(runs / RUNS, 1) + started for name, limit in LIMITS.items()}
    slow = [name for name, seconds in found.items() if seconds > limits[name]]
    print(f"a run above its iterations: {1e3 * above:.1f} of at most {1e3 * ABOVE:g} milliseconds on two workers")
    told = ", ".join(f"{name} {seconds:.1f} s of at most {limits[name]:g}" for name, seconds in found.items())
    print(f"{told}; after {kills} kills results are {'the same' if same else 'OTHERS'}")
    return int(bool(slow) or not same or above > ABOVE)


def iterations(study: Path) -> float:
    """Mean seconds of the iterations of a run."""
    summaries = [json.loads(path.read_text()) for path in study.glob("*/summary.json")]
    return float(np.mean([summary["progress"]["seconds"] for summary in summaries]))


def timed(arguments: list[str], words: str) -> float:
    """Seconds of a command that has to say these words and end well."""
    started = time.perf_counter()
    running = process(*arguments)
    out, err = running.communicate()
    taken = time.perf_counter() - started
    if running.returncode or words not in out:
        raise RuntimeError(f"code {running.returncode}: {out[-2000:]}{err[-2000:]}")
    print(f"{words}: {taken:.1f} s", flush=True)
    return taken


def multiply(study: Path, folders: int) -> None:
    """Copy runs until a study has so many."""
    originals = sorted(path for path in study.iterdir() if path.is_dir())
    for number in range(folders - len(originals)):
        source = originals[number % len(originals)]
        shutil.copytree(source, study / f"{source.name}{number:05d}")


def status(study: Path, words: str) -> float:
    """Seconds of `nlhf status`."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "nlhf", "status", study], cwd=MAIN.parent, capture_output=True,
                          text=True, check=True)  # fmt: skip
    taken = time.perf_counter() - started
    if words not in done.stdout:
        raise RuntimeError(done.stdout[-2000:])
    print(f"status of {words}: {taken:.1f} s", flush=True)
    return taken


def survived(kills: int) -> bool:
    """Is a sweep whose workers are killed at random as good as an undisturbed one?"""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        sweep = ["-m", *POOL, *SLOW, "game=random_tournament", "game.actions=10", "budget.queries=2000",
                 "budget.target=null", f"seeds={','.join(f'[{k},{k + 1}]' for k in range(max(4, kills // 3)))}",
                 f"runs_dir={place}"]  # fmt: skip
        timed([*sweep, "study=undisturbed"], " completed")
        started, killed = time.perf_counter(), 0
        running = process(*sweep, "study=killed", stdin=subprocess.DEVNULL)
        with running:
            while killed < kills and running.poll() is None:
                time.sleep(rng.uniform(0.05, 0.5))
                if found := workers(running.pid):
                    with suppress(ProcessLookupError):
                        os.kill(rng.choice(found), signal.SIGKILL)
                        killed += 1
            out, err = running.communicate()
        print(f"{killed} kills, then exit code {running.returncode}: {time.perf_counter() - started:.1f} s", flush=True)
        if running.returncode or killed < kills:
            print(out[-2000:], err[-2000:], sep="\n")
            return False
        return results(Path(place) / "killed") == results(Path(place) / "undisturbed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="how many runs are run and skipped")
    parser.add_argument("--folders", type=int, default=10000, help="how many run folders status reads")
    parser.add_argument("--kills", type=int, default=100, help="how many workers are killed")
    options = parser.parse_args()
    sys.exit(main(options.runs, options.folders, options.kills))

"""`python -m benchmarks`: the short versions of all that need no language model, one after the other, each in a process
of its own; at the end the names of those that fell short, exit code 1 if there are any. `--all` adds `LONG`: the race,
large games, and ratios on a busy machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

SHORT = (
    "iteration", "sampled steps rows", "startup --repetitions 5", "equilibrium --actions 500", "unregularised",
    "analysis --runs 500",
    "sweeps --runs 200 --folders 3000 --kills 5", "queries", "secant", "precision",
    "acceleration --seeds 1", "race --short",
)  # fmt: skip
LONG = ("unregularised --long", "race", "scale", "busy", "asking --long")


def main(commands: tuple[str, ...]) -> int:
    """Run them, and return the exit code."""
    short, started = [], time.perf_counter()
    for command in commands:
        name, *options = command.split()
        print(f"\n== benchmarks.{command}, after {time.perf_counter() - started:.0f} seconds", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
            short.append(name)
    print(f"\nfell short: {', '.join(short) or 'none'}, in {(time.perf_counter() - started) / 60:.0f} minutes")
    return int(bool(short))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the long ones, too")
    sys.exit(main(SHORT + LONG if parser.parse_args().all else SHORT))

"""`python -m benchmarks`: the short versions of all that need no language model, one after the other, each in a process
of its own; at the end the names of those that fell short, exit code 1 if there are any."""

from __future__ import annotations

import subprocess
import sys
import time

SHORT = (
    "iteration", "sampled steps rows", "startup --repetitions 5", "equilibrium --actions 500", "unregularised",
    "analysis --runs 500",
    "sweeps --runs 300 --folders 3000 --kills 5", "queries", "secant", "precision", "scale",
    "acceleration --seeds 1", "race --short",
)  # fmt: skip


def main() -> int:
    """Run them, and return the exit code."""
    short, started = [], time.perf_counter()
    for command in SHORT:
        name, *options = command.split()
        print(f"\n== benchmarks.{command}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
            short.append(name)
    print(f"\nfell short: {', '.join(short) or 'none'}, in {(time.perf_counter() - started) / 60:.0f} minutes")
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())

"""Ratios on a busy machine: measurements once alone, and once next to one busy loop per core.

A measurement calls `record(name, ratio)` for every ratio to bare products or calls that it prints, and for the
milliseconds of a run in a sweep. This script runs the named modules twice, and compares.

Run from the checkout: python -m benchmarks.busy MODULE[:OPTION...] ... , by default `MEASUREMENTS`. The last line names
the ratios that doubled; exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "NLHF_BENCHMARK_RATIOS"  # the file that `record` appends to
MEASUREMENTS = ("iteration", "sampled:steps", "secant", "unregularised", "sweeps:--runs:300:--folders:300:--kills:1")
FACTOR = 2.0


def record(name: str, ratio: float) -> None:
    """Add a ratio to the file of this comparison; nothing happens outside one."""
    if VARIABLE in os.environ:
        with open(os.environ[VARIABLE], "a") as stream:
            stream.write(json.dumps([name, ratio]) + "\n")


def main(measurements: list[str]) -> int:
    """Measure, print, and return the exit code."""
    doubled, missing = [], []
    for measurement in measurements:
        module, *options = measurement.split(":")
        alone = ratios(module, options)
        with busy_loops(os.cpu_count() or 1):
            beside = ratios(module, options)
        if not alone or alone.keys() != beside.keys():
            missing.append(module)
        for name in alone.keys() & beside.keys():
            change = beside[name] / alone[name]
            doubled += [f"{module} {name}"] if change > FACTOR else []
            print(f"{module} {name}: {alone[name]:.3g} alone, {beside[name]:.3g} beside busy loops, "
                  f"{change:.2f} of at most {FACTOR:g} times", flush=True)  # fmt: skip
    if missing:
        print(f"without the same ratios in both runs: {', '.join(missing)}")
    print(f"doubled: {', '.join(doubled) or 'none'}")
    return int(bool(doubled or missing))


def ratios(module: str, options: list[str]) -> dict[str, float]:
    """What a measurement records; whether it meets its own limits does not matter here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratios"
        path.touch()
        environment = os.environ | {VARIABLE: str(path)}
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], env=environment, check=False)
        return dict(json.loads(line) for line in path.read_text().splitlines())


@contextmanager
def busy_loops(count: int, cores: int | None = None) -> Iterator[None]:
    """Endless loops in processes of their own, on the first `cores` cores or on all."""
    code = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}])\nwhile True: pass"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "measurements", nargs="*", default=list(MEASUREMENTS), help="module names, with options after :"
    )
    sys.exit(main(parser.parse_args().measurements))

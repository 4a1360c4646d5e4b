"""How long a command takes to begin, over what torch and Hydra alone take.

Measured, in fresh processes, in turn: `import torch`; a Hydra program that composes the same config and does nothing
else; `nlhf run` on the default game in an empty folder; `nlhf run` where that run is completed, which imports no torch;
`import nlhf`; and an interpreter that does nothing. Medians of wall time.

Run from the checkout: python -m benchmarks.startup [--repetitions 9]. The last lines say what the first run takes over
`import torch`, and the completed run over Hydra alone, with the limits for a quiet machine; exit code 1 if one is
exceeded.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"import torch": 0.25, "Hydra alone": 0.2}  # seconds of the first and of the completed run over these
HYDRA = "import hydra; hydra.main('{}/conf', 'config', version_base='1.3')(lambda config: None)()"


def main(repetitions: int) -> int:
    """Measure, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python": ["-c", "pass"],
            "import nlhf": ["-c", "import nlhf"],
            "import torch": ["-c", "import torch"],
            "Hydra alone": ["-c", HYDRA.format(ROOT), "~hydra.callbacks.sweep"],
            "first run": ["main.py"],
            "completed run": ["main.py"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for repetition in range(repetitions + 1):
            for name, command in commands.items():
                place = [f"runs_dir={folder}/{repetition}"] if command == ["main.py"] else []
                taken[name].append(seconds([*command, *place]))
    measured = {name: np.array(values[1:]) for name, values in taken.items()}  # the first round warms the disk
    for name, values in measured.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        print(f"{name:14} {middle:.3f} s [{low:.3f}, {high:.3f}]")
    over = {}
    for run, alone in (("first run", "import torch"), ("completed run", "Hydra alone")):
        over[alone] = float(np.median(measured[run] - measured[alone]))
        print(f"{run} over {alone}: {over[alone]:+.3f} s of at most {LIMITS[alone]}")
    return int(any(over[alone] > limit for alone, limit in LIMITS.items()))


def seconds(arguments: list[str]) -> float:
    """Wall time of an interpreter with these arguments."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9, help="rounds, after one that is not counted")
    sys.exit(main(parser.parse_args().repetitions))

"""Does Nash-MP learn more per hour than the baselines? The study of docs/language_study.md, started and resumed alike.

    python -m benchmarks.language_study [--scale 1.0 | --hours 6] [--write]

For each of two judges, one with cycles and one without, and for each of four methods:

1. Tuning: a run of five minutes for each learning rate, measured on validation prompts.
2. The learning rate with the largest win rate at the end of tuning is chosen; of equal ones, the smallest.
3. Three seeds of ten minutes with that learning rate, measured on the test prompts.
4. An exploiter is trained against every policy, a lower bound of its exploitability.

Training, validation and test prompts are disjoint parts of the bundled prompts. `--scale` multiplies the times; 1 takes
about six hours of training, and rows and exploiters come on top. Both judges are studied at the same time, each on half
of the cores, so two cores take half as long. Everything that is complete is skipped, as `nlhf run` skips it, so the
command can be stopped and repeated. `--write` puts table and figure into docs/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.io.files import replacing
from nlhf.io.json_files import read_json
from nlhf.io.yaml_files import read_yaml
from nlhf.models.prompts import Prompt, bundled_prompts
from nlhf.numerics.threads import cores

PRESETS = {"cyclic": "language_study", "transitive": "language_study_transitive"}
METHODS = ("nash_prox_fast", "nash_mp_ema", "online_ipo", "nash_md_pg")
RATES = (0.0001, 0.0003, 0.001)
SEEDS = (0, 1, 2)
TUNING_SEED = 100
TUNING, TRAINING = 300.0, 600.0  # seconds
HOURS = len(PRESETS) * len(METHODS) * (len(RATES) * TUNING + len(SEEDS) * TRAINING) / 3600


@dataclass(frozen=True)
class Run:
    """A completed run.

    Args:
        folder: of the run.
        config, summary: of its files.
    """

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]

    @property
    def method(self) -> str:
        """The name of its algorithm."""
        return str(self.config["names"]["algorithm"])

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.config["prox"]["learning_rate"])

    @property
    def win_rate(self) -> float:
        """Of the last row, against the reference."""
        return float(self.summary["final"]["test_win_rate_vs_reference"])


@dataclass(frozen=True)
class Study:
    """The commands of a study.

    Args:
        runs_dir: the folder of all runs.
        scale: multiplies the times.
        validation, test: numbers of prompts.
        steps: of an exploiter.
        threads: of torch in each command.
        words: further overrides of all runs.
    """

    runs_dir: Path
    scale: float
    validation: int
    test: int
    steps: int
    threads: int
    words: tuple[str, ...] = ()

    def prompts(self, part: str) -> Path:
        """The file of prompts for training, validation or test."""
        prompts, held_out = bundled_prompts(), self.validation + self.test
        parts = {
            "training": prompts[:-held_out],
            "validation": prompts[-held_out : -self.test],
            "test": prompts[-self.test :],
        }
        path = self.runs_dir / "language_study_prompts" / f"{part}-{self.validation}-{self.test}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:  # never torn: runs of the other judge read it at the same time
            stream.write("".join(map(_line, parts[part])))
        return path

    def train(self, panel: str, stage: str, method: str, rates: Sequence[float], seeds: Sequence[int]) -> None:
        """Run a method with each of the learning rates and seeds.

        Args:
            stage: validation or test, whose prompts are measured.
        """
        seconds = self.scale * (TUNING if stage == "validation" else TRAINING)
        number = self.validation if stage == "validation" else self.test
        self.nlhf(
            *("run", "-m", f"experiment={PRESETS[panel]}", f"algorithm={method}", f"study={self.name(panel, stage)}"),
            *(f"prox.learning_rate={','.join(map(str, rates))}", f"seeds={','.join(f'[{seed}]' for seed in seeds)}"),
            *(f"game.path={self.prompts('training')}", f"game.test_path={self.prompts(stage)}"),
            *(f"game.test_prompts={number}", f"budget.seconds={seconds:g}", f"runs_dir={self.runs_dir}"),
            *("hydra/launcher=basic", *self.words),
        )

    def nlhf(self, *words: str) -> None:
        """Run a command of nlhf; its output goes to the terminal."""
        print("nlhf", *words, flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        if code := subprocess.run([sys.executable, "-m", "nlhf", *words], env=environment).returncode:
            raise SystemExit(f"nlhf {words[0]} ended with code {code}: repeat the command to go on")

    def name(self, panel: str, stage: str) -> str:
        """The name of the `nlhf` study of a stage."""
        return PRESETS[panel] + ("_tuning" if stage == "validation" else "")

    def runs(self, panel: str, stage: str, method: str) -> list[Run]:
        """The completed runs of a method on the prompts of this study."""
        number = self.validation if stage == "validation" else self.test
        runs = [run for run in completed(self.runs_dir / self.name(panel, stage)) if run.method == method]
        return [run for run in runs if run.config["game"]["test_prompts"] == number]

    def of_method(self, panel: str, method: str) -> list[Run]:
        """Tune, train and exploit a method; returns the runs of its seeds."""
        self.train(panel, "validation", method, RATES, [TUNING_SEED])
        rate = chosen_rate([(run.rate, run.win_rate) for run in self.runs(panel, "validation", method)])
        print(f"{panel} {method}: learning rate {rate:g}", flush=True)
        self.train(panel, "test", method, [rate], SEEDS)
        runs = [run for run in self.runs(panel, "test", method) if run.rate == rate]
        for run in runs:
            self.exploit(run)
        return runs

    def of_panel(self, panel: str, methods: Sequence[str]) -> dict[str, list[Run]]:
        """The runs of each method with a judge."""
        return {method: self.of_method(panel, method) for method in methods}

    def exploit(self, run: Run) -> None:
        """Train an exploiter against the policy of a run, unless its file is newer than the run."""
        file = run.folder / "exploiter.json"
        done = read_json(file) or {}
        current = file.exists() and file.stat().st_mtime >= (run.folder / "summary.json").stat().st_mtime
        if not (current and done.get("steps") == self.steps):
            self.nlhf("exploit", str(run.folder), "--steps", str(self.steps), "--completions", "2")


def chosen_rate(rates: Sequence[tuple[float, float]]) -> float:
    """The learning rate with the largest win rate; of equal ones, the smallest.

    Args:
        rates: learning rates with win rates.

    Raises: SystemExit without a run.
    """
    if not rates:
        raise SystemExit("no tuning run is complete: see the messages above, and repeat the command")
    return min(rates, key=lambda pair: (-pair[1], pair[0]))[0]


def completed(folder: Path) -> Iterator[Run]:
    """The completed runs of a study."""
    for path in sorted(folder.glob("*/summary.json")):
        config, summary = read_yaml(path.parent / ".hydra" / "config.yaml", dict), read_json(path)
        if config and summary and summary.get("status") == "completed":
            yield Run(path.parent, config, summary)


def _line(prompt: Prompt) -> str:
    return json.dumps({"prompt": prompt}) + "\n"


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language_study", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the times of training (default: 1)")
    parser.add_argument("--hours", type=float, help=f"of training in all, instead of --scale; {HOURS:g} is --scale 1")
    parser.add_argument("--panels", nargs="+", choices=PRESETS, default=list(PRESETS), help="judges (default: both)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="algorithms (default: four)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    parser.add_argument("--validation-prompts", type=int, default=64, help="prompts for tuning (default: 64)")
    parser.add_argument("--test-prompts", type=int, default=128, help="prompts for the table (default: 128)")
    parser.add_argument("--exploiter-steps", type=int, default=20, help="steps of an exploiter (default: 20)")
    parser.add_argument("--write", action="store_true", help="write the table and the figure into docs/")
    parser.add_argument("overrides", nargs="*", help="further overrides of all runs, such as policy.micro_batch=32")
    options = parser.parse_args()
    scale = options.scale if options.hours is None else options.hours / HOURS
    study = Study(options.runs_dir, scale, options.validation_prompts, options.test_prompts, options.exploiter_steps,
                  max(1, cores() // len(options.panels)), tuple(options.overrides))  # fmt: skip
    with ThreadPoolExecutor(len(options.panels)) as side_by_side:
        studied = side_by_side.map(lambda panel: study.of_panel(panel, options.methods), options.panels)
        runs = dict(zip(options.panels, studied, strict=True))
    from benchmarks import language_study_results as results

    print(results.text(runs, scale))
    results.figure(runs).savefig(options.runs_dir / "language_study.png", dpi=110)
    if options.write:
        results.write(runs, scale)


if __name__ == "__main__":
    main()

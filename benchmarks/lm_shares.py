"""Where the time of a language model's step goes, how fast it samples, and what a second process adds.

    python -m benchmarks.lm_shares [--threads 1] [--model FOLDER] [--rounds 3]

1. The shares of a step of `experiment=language_model`: sampling, log-probabilities of policies that are not trained,
   the learner's forward and backward pass, the judge, the optimiser, and the rest; and what a row with 64 test prompts
   takes, in steps.
2. Sampling of one policy against transformers' `generate`, 24 tokens, 8, 32 and 128 prompts; at least as fast.
3. Two processes of torchrun against one, one thread each: at least 1.6 times the steps.

Ratios are medians over rounds in which both sides take turns. Needs the extra lm.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from benchmarks.iteration import assembled
from benchmarks.lm import Endless, alternating, listed
from nlhf.language import sampling, scoring
from nlhf.language.game import TextGame
from nlhf.models.prompts import bundled_prompts
from nlhf.prox.optimiser import Optimiser
from nlhf.runner.trainer import Trainer

METHODS = ("online_ipo", "nash_prox_fast")
ROWS, NEW, TEST_PROMPTS = (8, 32, 128), 24, 64
GENERATE_LIMIT, PROCESSES_LIMIT = 1.0, 1.6


class Stopwatch:
    """Seconds of the parts of a program; the seconds of a part within another count for the inner one only."""

    def __init__(self) -> None:
        self.seconds, self.inner = defaultdict[str, float](float), [0.0]

    def timed(self, call: Callable[..., Any], part: Callable[..., str]) -> Callable[..., Any]:
        """`call`, whose seconds count for a part that may depend on its arguments."""

        def measured(*arguments: Any, **named: Any) -> Any:
            name, started = part(*arguments), time.perf_counter()
            self.inner.append(0.0)
            try:
                return call(*arguments, **named)
            finally:
                seconds = time.perf_counter() - started
                self.seconds[name] += seconds - self.inner.pop()
                self.inner[-1] += seconds

        return measured

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the parts of a step inside the block."""
        parts: list[tuple[Any, str, Callable[..., str]]] = [
            (sampling, "scored_sample", lambda *_: "sampling"),
            (scoring, "log_prob", _scored),
            (torch.autograd, "grad", lambda *_: "backward"),
            (TextGame, "compare", lambda *_: "judge"),
            (Optimiser, "step", lambda *_: "optimiser"),
        ]
        with ExitStack() as stack:
            for owner, name, part in parts:
                stack.enter_context(patch.object(owner, name, self.timed(getattr(owner, name), part)))
            yield


def _scored(_: Any, weights: Any, *__: Any) -> str:
    learns = torch.is_grad_enabled() and any(value.requires_grad for value in (weights or {}).values())
    return "learner" if learns else "other policies"


@contextmanager
def training(method: str, model: str) -> Iterator[Trainer]:
    """A trainer of the preset, without rows."""
    overrides = [f"algorithm={method}", f"policy.model={model}", "seeds=[0]", f"game.test_prompts={TEST_PROMPTS}"]
    with assembled(["experiment=language_model", *overrides]) as (trainer, _):
        trainer.prox.active = np.ones(1, bool)
        yield trainer


def shares(method: str, model: str, rounds: int) -> None:
    """Print the shares of a step, and a row in steps."""
    with training(method, model) as trainer:
        trainer._iterate()
        stopwatch, started = Stopwatch(), time.perf_counter()
        with stopwatch.watching():
            for _ in range(rounds):
                trainer._iterate()
        seconds = time.perf_counter() - started
        stopwatch.seconds["rest"] = seconds - sum(stopwatch.seconds.values())
        trainer.measure(trainer.state.policy, None)  # draws the reference's completions, too
        trainer._iterate()  # another policy
        started = time.perf_counter()
        trainer.measure(trainer.state.policy, None)
        row = time.perf_counter() - started
    step = seconds / rounds
    ordered = sorted(stopwatch.seconds.items(), key=lambda entry: -entry[1])
    parts = ", ".join(f"{name} {part / seconds:.0%}" for name, part in ordered)
    print(f"{method}: a step takes {step:.1f} s: {parts}; a row of {TEST_PROMPTS} prompts takes {row / step:.1f} steps",
          flush=True)  # fmt: skip


def against_generate(model: str, rounds: int) -> int:
    """Print the ratios of speeds of sampling; how many limits were missed."""
    from nlhf.language.loading import load

    overrides = ["experiment=language_model", f"policy.model={model}", f"policy.max_new_tokens={NEW}"]
    with assembled(overrides) as (_, world):
        endless = Endless(load(world.game.model.options, 0, "cpu"))  # type: ignore[attr-defined]
    missed = 0
    for rows in ROWS:
        prompts = [endless.turn(prompt).tokens for prompt in bundled_prompts(300)[:rows]]
        uniforms = np.random.default_rng(0).random(rows)

        def ours(prompts: Any = prompts, uniforms: Any = uniforms) -> None:
            endless.sample([(endless.initial, 1.0)], prompts, uniforms)

        def theirs(prompts: Any = prompts) -> None:
            ids, mask, _ = endless.padded(prompts)
            endless.module.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=mask, do_sample=True, max_new_tokens=NEW, min_new_tokens=NEW, top_k=0,
                pad_token_id=0,
            )  # fmt: skip

        for call in (ours, theirs):
            call()
        seconds = alternating({"ours": ours, "generate": theirs}, rounds)
        ratios = [other / own for own, other in zip(seconds["ours"], seconds["generate"], strict=True)]
        missed += median(ratios) < GENERATE_LIMIT
        speed = rows * NEW / median(seconds["ours"])
        print(f"sampling {rows:3} prompts: {speed:.0f} tokens/s, {median(ratios):.2f} of the speed of generate "
              f"(at least {GENERATE_LIMIT:g}; rounds {listed(ratios)})", flush=True)  # fmt: skip
    return missed


def processes(model: str, rounds: int) -> int:
    """Print the ratio of the steps of two processes of torchrun and of one; 1 if the limit was missed."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for count in seconds:
            seconds[count].append(_seconds_of_step(model, count, number))
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    print(f"two processes: {median(ratios):.2f} times the steps of one (at least {PROCESSES_LIMIT}; rounds "
          f"{listed(ratios)}); seconds of a step {listed(seconds[1])} and {listed(seconds[2])}")  # fmt: skip
    return int(median(ratios) < PROCESSES_LIMIT)


def _seconds_of_step(model: str, count: int, number: int) -> float:
    """Of the mean step among four, by so many processes with one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", "experiment=language_model", "hydra.mode=RUN", "algorithm=online_ipo", f"seeds=[{number}]"]
        words += [f"policy.model={model}", "budget={queries: null, seconds: null, iterations: 4}", "arena=false"]
        words += ["game.test_prompts=2", f"runs_dir={folder}", "progress=false"]
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "nlhf"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", *launcher, *words], check=True, env=environment, capture_output=True)
        table = pd.read_csv(next(Path(folder).glob("*/*/metrics.csv")))
    return float(table["seconds"].iloc[-1] / table["iteration"].iloc[-1])


def main() -> int:
    """Print all; exit code 1 where a ratio misses its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_shares", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of torch, for the first two parts (default: 1)")
    parser.add_argument("--model", default="bundled", help="folder of a model (default: SmolLM2-135M-Instruct)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (default: 3)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for method in METHODS:
        shares(method, options.model, options.rounds)
    return int(against_generate(options.model, options.rounds) + processes(options.model, options.rounds) > 0)


if __name__ == "__main__":
    sys.exit(main())

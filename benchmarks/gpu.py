"""What a GPU is good for: bandwidth of an iteration, many seeds, equilibria, networks and language models.

    python -m benchmarks.gpu [agree] [bandwidth] [equilibria] [network] [lm] [--short]

* agree: every algorithm of the exact engine on two games. The largest difference of log10 exploitability between
  `device=cpu` and `device=cuda`, over all rows above 1e-12.
* bandwidth: the bytes of the preference matrices that an iteration of `nash_mp` reads, per second, as a share of what a
  copy reaches: n from 4,096 to 40,000 in both precisions, and 256 seeds with a matrix each.
* equilibria: seconds of Newton's method (beta = 0.05) and of the interior point method (beta = 0), beside the CPU.
* network: seconds of a training step of 1, 16 and 256 seeds of an MLP.
* lm: seconds of a training step, tokens per second and peak memory (benchmarks/gpu_language.py). Needs the extra lm.

All parts together stop after 6 minutes: a case that would start after 5 is left out, with a sentence. `--short` has
small cases, for a machine without a GPU too, where only the CPU is measured. Exit code 1 where results differ by more
than the limit, or a part fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch

import nlhf
from benchmarks.gpu_language import language_models, timed
from benchmarks.iteration import assembled
from nlhf.algorithms.nash_mp import NashMP
from nlhf.equilibria.solve import solve
from nlhf.games.feedback import Feedback
from nlhf.games.listed import numbered
from nlhf.games.matrix import MatrixGame
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.exact import ExactProx

AGREE_LIMIT, FLOOR = 1e-6, 1e-12
LAST_START = 300.0  # seconds
ALGORITHMS = (
    "adaptive_nash_mp", "adaptive_optimistic", "comal", "egpo", "inpo", "ipo_md", "mpo", "nash_ema_pg", "nash_md",
    "nash_mp", "nash_mp_ema", "nash_prox", "nash_prox_fast", "omd", "online_ipo", "optimistic", "proximal_point",
    "secant", "self_play", "sppo",
)  # fmt: skip
GAMES = {"tversky": ["game=tversky"], "50 actions": ["game=random_tournament", "game.actions=50", "seeds=4"]}
MATRICES = ((1, 4096), (1, 10_000), (1, 20_000), (1, 40_000), (256, 256), (256, 1000))  # seeds, actions
SOLVED = (100, 1000, 3000)
SEEDS = (1, 16, 256)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Clock:
    """Seconds since the start, and whether a further case may begin."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def cases(self, names: list[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """The cases that begin in time; a sentence for those that do not."""
        for index, name in enumerate(names):
            if time.perf_counter() - self.started > LAST_START:
                print(f"left out, as 5 minutes are over: {', '.join(map(str, names[index:]))}")
                return
            yield name


def agree(clock: Clock, short: bool) -> int:
    """Print the differences between the devices; how many algorithms are above the limit."""
    if DEVICE.type == "cpu":
        print("no GPU: nothing to compare the CPU with")
        return 0
    above = 0
    for (index,) in clock.cases([(0,)] if short else [(0,), (1,)]):
        name, game = list(GAMES.items())[index]
        worst: dict[str, float] = {}
        for algorithm in ALGORITHMS:
            logs = []
            with tempfile.TemporaryDirectory() as folder:
                for device in ("cpu", "cuda"):  # in folders of their own: neither may return the other's run
                    run = nlhf.run([*game, f"algorithm={algorithm}", f"device={device}", "budget.queries=200",
                                    "progress=false", f"runs_dir={folder}/{device}"])  # fmt: skip
                    logs.append(run.metrics["exploitability"].to_numpy())
            count = min(map(len, logs))
            first, second = (np.log10(np.maximum(values[:count], FLOOR)) for values in logs)
            worst[algorithm] = float(np.abs(first - second).max())
        above += sum(value > AGREE_LIMIT for value in worst.values())
        listed = ", ".join(f"{algorithm} {value:.1e}" for algorithm, value in worst.items())
        print(f"{name}: {listed} (at most {AGREE_LIMIT:g})", flush=True)
    return above


def bandwidth(clock: Clock, short: bool) -> int:
    """Print the share of a copy's bandwidth that an iteration of Nash Mirror Prox reaches."""
    rate = copy_rate(2**22 if short else 2**27)
    print(f"a copy moves {rate / 1e9:.0f} GB/s")
    for seeds, n in clock.cases([(1, 512), (16, 64)] if short else list(MATRICES)):
        for dtype in (torch.float64, torch.float32):
            game = MatrixGame(skew((seeds, 1, n, n), dtype), numbered("action", n), ("context",))
            beta = torch.full((seeds, 1, 1), 0.05, dtype=torch.float64, device=DEVICE)
            reference = TabularPolicy(torch.full((seeds, 1, n), 1 / n, dtype=torch.float64, device=DEVICE).log())
            feedback = Feedback(votes_per_pair=None, orders="given", flip=0.0, position_bias=0.0)
            prox = ExactProx().engine(Parts(game, reference, beta, list(range(seeds)), feedback))
            algorithm = NashMP("theory").bind(beta)
            state = algorithm.init(reference)
            taken = repeated(lambda a=algorithm, s=state, p=prox: a.update(fresh(s), p))  # type: ignore[misc]
            share = 2 * seeds * n * n * dtype.itemsize / taken / rate
            print(f"{seeds} x {n} actions, {str(dtype)[6:]}: {1e3 * taken:.3f} ms an iteration, "
                  f"{share:.2f} of the bandwidth of a copy", flush=True)  # fmt: skip
            del game, prox
    return 0


def fresh(state):  # type: ignore[no-untyped-def]
    """The state with a policy that the engine has no answer about."""
    return type(state)(TabularPolicy(state.policy.log_probabilities))


def equilibria(clock: Clock, short: bool) -> int:
    """Print the seconds of both methods for reference equilibria on every device."""
    for (n,) in clock.cases([(50,)] if short else [(n,) for n in SOLVED]):
        for beta, method in ((0.05, "Newton"), (0.0, "interior point")):
            seconds = []
            for device in dict.fromkeys((torch.device("cpu"), DEVICE)):
                advantage = skew((1, n, n), torch.float64).to(device)
                log_reference = torch.full((1, n), 1 / n, dtype=torch.float64, device=device).log()
                taken = repeated(lambda a=advantage, r=log_reference, b=beta: solve(a, r, b), least=0.2)  # type: ignore[misc]
                seconds.append(f"{device.type} {1e3 * taken:.1f} ms")
            print(f"n = {n}, {method}: {', '.join(seconds)}", flush=True)
    return 0


def network(clock: Clock, short: bool) -> int:
    """Print the seconds of a training step of stacked MLPs."""
    alone = 0.0
    for (seeds,) in clock.cases([(1,), (4,)] if short else [(seeds,) for seeds in SEEDS]):
        words = ["experiment=neural", f"seeds={seeds}", "equilibrium=never", f"device={DEVICE.type}"]
        with tempfile.TemporaryDirectory() as folder, assembled([*words, f"runs_dir={folder}"]) as (trainer, _):
            trainer.prox.active[:] = True
            taken = repeated(trainer._iterate)
        alone = alone or taken
        print(f"{seeds} seeds of an MLP: {1e3 * taken:.2f} ms a step, {taken / alone:.2f} times one seed", flush=True)
    return 0


def lm(clock: Clock, short: bool) -> int:
    """Print the speed of language models (benchmarks/gpu_language.py)."""
    for (index,) in clock.cases([(0,)] if short else [(0,), (1,), (2,), (3,)]):
        language_models(DEVICE, index, short, lambda call: timed(call, DEVICE))
    return 0


def skew(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A random skew-symmetric matrix or batch on the device, with one temporary of its size."""
    values = torch.rand(shape, dtype=dtype, device=DEVICE).triu_(1)
    return values.sub_(values.mT.clone()).mul_(0.5)


def repeated(call: Callable[[], object], least: float = 0.5) -> float:
    """Median seconds of a call over blocks of ten, or of single calls if they are slow."""
    call()
    block = 10 if timed(call, DEVICE) < 0.02 else 1
    seconds, end = [], time.perf_counter() + least
    while time.perf_counter() < end or len(seconds) < 3:
        seconds.append(timed(lambda: [call() for _ in range(block)], DEVICE) / block)
    return median(seconds)


def copy_rate(count: int) -> float:
    """Bytes read and written per second by a copy of `count` doubles on the device."""
    source = torch.empty(count, dtype=torch.float64, device=DEVICE)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() * 8 / median([timed(lambda: target.copy_(source), DEVICE) for _ in range(5)])


PARTS: dict[str, Callable[[Clock, bool], int]] = {
    part.__name__: part for part in (agree, bandwidth, equilibria, network, lm)
}


def main() -> int:
    """Run the chosen parts; the exit code."""
    parser = argparse.ArgumentParser(description="What a GPU is good for.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}")
    clock, failed = Clock(), 0
    for part in options.parts or PARTS:
        print(f"-- {part}", flush=True)
        try:
            failed += PARTS[part](clock, options.short)
        except Exception:  # the other parts are worth their minutes
            traceback.print_exc()
            failed += 1
    print(f"{time.perf_counter() - clock.started:.0f} s in all")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())

"""What sampled gradient steps cost, what grading adds to a run of them, and whether torch.compile pays.

Measured: (a) an iteration of nash_prox (one step of Adam on the ipo loss, 32 contexts, 4 pairs in each) on a perceptron
for 16 seeds over one for a single seed; the same ratio of its bare calls; what the ratio would be if 15 more seeds took
their bare calls only; and an iteration of 16 seeds over its bare calls; (b) an iteration with 256 contexts and one pair
in each, on a game of 100 actions and 512 contexts, for a perceptron and a table, one seed; (c) the share of rows
(metrics and their record) in `Trainer.run` over 2000 iterations; (d) the learner's forward pass, and the whole loss
with its draws given, both with the gradient, as they are and compiled. Blocks alternate in one process; medians are
judged. One thread: with two, every threaded call can wait a scheduler's slice for its second thread where other
processes use the cores.

Run from the checkout: python -m benchmarks.sampled [PART ...]. The last lines are the ratios and costs with their
limits; exit code 1 if one is exceeded. (d) has no limit.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from benchmarks.busy import record
from benchmarks.iteration import ENDLESS, Call, NoRecorder, seconds
from nlhf.budget import Budget
from nlhf.launch.compose import composed, plain
from nlhf.prox.problem import Problem
from nlhf.prox.surrogates import ipo
from nlhf.runner.assemble import assemble
from nlhf.runner.folder import RunFolder
from nlhf.runner.specification import Specification, specify
from nlhf.runner.trainer import Trainer

SEEDS_LIMIT, STEP_LIMIT, ROWS_LIMIT = 2.5, 5.0, 0.10  # a ratio, milliseconds, a share
BLOCK_SECONDS, ROUNDS, COMPILED_ROUNDS = 0.02, 200, 100
WARM_UP, ITERATIONS = 50, 2000

NASH_PROX = ["algorithm=nash_prox", "prox=gradient", "game=contextual"]
MLP = ["policy=mlp", "policy.hidden=[128,128,128]"]
LARGE = [*NASH_PROX, "game.actions=100", "game.contexts=512", "prox.contexts=256", "prox.samples=2"]
CASES = {
    "1 seed": [*NASH_PROX, *MLP],
    "16 seeds": [*NASH_PROX, *MLP, "seeds=16"],
    "large, mlp": [*LARGE, *MLP],
    "large, tabular": [*LARGE, "policy=tabular"],
}

Judged = tuple[str, float, float]  # what was measured, its value, its limit


def main(parts: list[str]) -> int:
    """Measure the named parts, or all; the number of limits that are exceeded."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
    judged = [line for name, part in PARTS.items() if not parts or name in parts for line in part()]
    for words, value, limit in judged:
        print(f"{words}: {value:.3f} of at most {limit:g}{', EXCEEDED' if value > limit else ''}")
    return sum(value > limit for _, value, limit in judged)


def steps() -> list[Judged]:
    """(a) and (b): iterations while no row is due."""
    trainers = {name: trainer(name) for name in CASES}
    calls = {name: start._iterate for name, start in trainers.items()}
    taken = alternate(calls | {f"bare {name}": bare(trainers[name]) for name in ("1 seed", "16 seeds")}, ROUNDS)
    for name, values in taken.items():
        print(f"iteration, {name:14} {told(values)}")
    ratio = compared(taken["16 seeds"], taken["1 seed"], "iteration, 16 seeds over one")
    compared(taken["bare 16 seeds"], taken["bare 1 seed"], "bare calls, 16 seeds over one")
    least = taken["1 seed"] + taken["bare 16 seeds"] - taken["bare 1 seed"]
    compared(least, taken["1 seed"], "iteration, 16 seeds over one, with 15 more at their bare calls")
    record("16 seeds over one", ratio)
    record("16 seeds over bare calls", compared(taken["16 seeds"], taken["bare 16 seeds"], "16 seeds over bare calls"))
    large = [(name, 1e3 * float(np.median(taken[name]))) for name in CASES if name.startswith("large")]
    costs = [(f"milliseconds of an iteration, {name}", cost, STEP_LIMIT) for name, cost in large]
    return [("iteration, 16 seeds over one", ratio, SEEDS_LIMIT), *costs]


def bare(start: Trainer) -> Call:
    """The torch calls that a step of these networks cannot do without, written by hand and without draws.

    They are copies of weights and moments, the forward passes of learner and anchor, the backward pass of the learner,
    Adam's kernel, and the moving target.
    """
    policy, batch = start.state.policy, start.prox.options.contexts
    target = [value.clone() for value in policy.parameters.values()]
    state = [[torch.rand_like(value) for value in target] for _ in range(3)]  # weights and moments
    features = torch.rand(len(target[0]), batch, target[0].shape[1])
    counts = [torch.tensor(1000.0) for _ in target]

    def forward(weights: list[Tensor]) -> list[Tensor]:
        values = [features]
        for weight, bias in zip(weights[0::2], weights[1::2], strict=True):
            values.append(torch.baddbmm(bias, values[-1], weight))
            values[-1] = values[-1].relu() if weight is not weights[-2] else values[-1].log_softmax(-1)
        return values

    def backward(weights: list[Tensor], values: list[Tensor]) -> Iterator[Tensor]:
        output = values[-1]  # any numbers of its shape
        for weight, value in zip(weights[-2::-2], values[-2::-1], strict=True):
            yield output.sum(1, keepdim=True)
            yield torch.bmm(value.mT, output)
            if value is not features:
                output = torch.ops.aten.threshold_backward(torch.bmm(output, weight.mT), value, 0)

    def calls() -> None:
        state[:] = [[value.clone() for value in values] for values in state]
        weights, *moments = state
        forward(target)
        gradients = [*backward(weights, forward(weights))][::-1]
        adam(weights, gradients, *moments, [], counts, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
             weight_decay=0.0, amsgrad=False, maximize=False, fused=True)  # fmt: skip
        target[:] = [value.lerp(weight, 0.01) for value, weight in zip(target, weights, strict=True)]

    return calls


def rows() -> list[Judged]:
    """(c): whole runs."""
    return [(f"share of rows in {ITERATIONS} iterations, {name}", share(name), ROWS_LIMIT) for name in CASES]


def share(name: str) -> float:
    """The part of a run's time that its rows take."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = specified([*CASES[name], f"runs_dir={folder}"])
        run = replace(run, budget=Budget(queries=None, iterations=ITERATIONS, seconds=None, target=None))
        run.folder.mkdir(parents=True)
        world = assemble(run)
        trainer = world.trainer(run, RunFolder(run, world))
        record = trainer._record
        trainer._record = lambda *args, **kind: taken.append(seconds(partial(record, *args, **kind), 1))
        whole = seconds(trainer.run, 1)
    print(f"run, {name:14} {whole:.2f} s; {len(taken)} times rows, {sum(taken):.3f} s", flush=True)
    return sum(taken) / whole


@dataclass(frozen=True)
class Replayed:
    """Draws that are given: pairs, their weights, and the answers."""

    drawn: tuple[Tensor, Tensor, Tensor]
    answers: Tensor

    def pairs(self, first: object, second: object) -> tuple[Tensor, Tensor, Tensor]:
        return self.drawn

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        return self.answers


def compiled() -> list[Judged]:
    """(d): values and gradients, as they are and compiled; nothing is judged."""
    torch.compiler.config.force_disable_caches = True  # so that compiling takes what it takes the first time
    for name in CASES:
        *functions, parameters = learning(name)
        for words, function in zip(("forward", "loss"), functions, strict=True):
            eager = partial(gradient, function, parameters)
            fast = partial(gradient, torch.compile(function, dynamic=False), parameters)
            try:
                once = seconds(fast, 1)
            except Exception as problem:  # whatever the lack of a compiler raises
                print(f"torch.compile does not work here ({type(problem).__name__}): not measured")
                return []
            taken = alternate({"eager": eager, "compiled": fast}, COMPILED_ROUNDS)
            compared(taken["compiled"], taken["eager"], f"{words} and gradient, {name}: compiled over eager")
            saved = float(np.median(taken["eager"]) - np.median(taken["compiled"]))
            even = f"{once / saved:.0f} iterations" if saved > 0 else "never"
            print(f"  eager {told(taken['eager'])}; compiling takes {once:.1f} s, even after: {even}", flush=True)
    return []


def learning(name: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, Tensor]]:
    """The learner's log-probabilities and the ipo loss of self-play, as functions of its parameters, and these."""
    start = trainer(name)
    prox, policy = start.prox, start.state.policy
    contexts = prox._contexts()
    anchor, reference = policy.at(contexts), prox.reference.at(contexts)
    first, second = (anchor.sample(torch.rand(*contexts.shape, prox.options.samples // 2)) for _ in range(2))
    weights = anchor.log_probabilities.new_full((1, 1, 1), 1 / first.shape[-1])
    draws = Replayed((first, second, weights), prox.judge(contexts, first, second, prox.active))
    beta = prox.beta.to(weights)

    def forward(parameters: Mapping[str, Tensor]) -> Tensor:
        return policy.at(contexts, parameters).log_probabilities

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        learner = policy.at(contexts, parameters)
        return ipo(Problem(learner, anchor, anchor, anchor, reference, beta, 0 * beta + 0.5, 4 * beta, 0.0), draws)

    return forward, loss, {key: value.clone().requires_grad_() for key, value in policy.parameters.items()}


def gradient(function: Callable[..., Tensor], parameters: Mapping[str, Tensor]) -> object:
    return torch.autograd.grad(function(parameters).sum(), list(parameters.values()))


def specified(overrides: list[str]) -> Specification:
    with composed([*overrides, "equilibrium=never"]) as config:
        return specify(plain(config))


def trainer(name: str) -> Trainer:
    """The trainer of a case, with a budget that never ends."""
    run = replace(specified(CASES[name]), budget=ENDLESS)
    return assemble(run).trainer(run, NoRecorder())


def alternate(calls: Mapping[str, Call], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of every call in every round, from blocks of them in turn."""
    alone = [seconds(call, WARM_UP) and seconds(call, WARM_UP) / WARM_UP for call in calls.values()]
    blocks = [(call, max(1, round(BLOCK_SECONDS / once))) for call, once in zip(calls.values(), alone, strict=True)]
    taken = [[seconds(call, times) / times for call, times in blocks] for _ in range(rounds)]
    return dict(zip(calls, np.array(taken).T, strict=True))


def compared(above: np.ndarray, below: np.ndarray, words: str) -> float:
    """The median ratio of neighbouring blocks; it is told with its 95% interval (order statistics)."""
    ratios = np.sort(above / below)
    middle, margin = len(ratios) // 2, math.ceil(math.sqrt(len(ratios)))
    quick = np.quantile(above, 0.1) / np.quantile(below, 0.1)
    low, median, high = ratios[middle - margin], np.median(ratios), ratios[middle + margin]
    print(f"{words} {median:.3f} [{low:.3f}, {high:.3f}]; fastest tenths {quick:.3f}", flush=True)
    return float(median)


def told(values: np.ndarray) -> str:
    return f"{1e3 * np.median(values):.3f} ms (fastest tenth {1e3 * np.quantile(values, 0.1):.3f})"


PARTS = {"steps": steps, "rows": rows, "compiled": compiled}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of the measurement: {', '.join(PARTS)}")
    sys.exit(min(1, main(parser.parse_args().parts)))

"""How many queries fewer the adaptive methods need than Nash Mirror Prox with lambda = 2, to KL(pi* || pi) <= 1e-10.

Measured, on every named game with its default size, human votes among them, for beta in {1e-1, 1e-2, 1e-3} and a
reference with normal logits: queries at the first iteration whose mean KL over contexts is that small, one seed at a
time. Runs that need more than the cap count with the cap where they are Nash Mirror Prox's, and as a ratio of 0
elsewhere.

Run from the checkout: python -m benchmarks.acceleration [--seeds 3]. The last line gives the median ratio of `secant`
for every beta and the limit, and the worst; exit code 1 if a median is below 5, or a run needs more queries than the
theorem grants Nash Mirror Prox.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.iteration import NoRecorder
from nlhf.launch.compose import composed, plain
from nlhf.numerics import simplex
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from nlhf.runner.table_world import TableWorld

GAMES = ("random_tournament", "deterministic_tournament", "rock_paper_scissors", "circle", "spinning_top",
         "general_preference", "bradley_terry", "annotators", "tversky", "mtbench", "vicuna")  # fmt: skip
BETAS, TARGET, CAP, LEAST = (0.1, 0.01, 0.001), 1e-10, 30_000, 5.0
METHODS = ("secant", "adaptive_nash_mp", "adaptive_optimistic")


def main(seeds: int) -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(1)
    ratios: dict[tuple[str, float], list[float]] = {}
    late = []
    for beta in BETAS:
        for game in GAMES:
            plain_queries, granted = np.array(list(queries("nash_mp", game, beta, seeds))).T
            told = []
            for method in METHODS:
                needed = np.array([found for found, _ in queries(method, game, beta, seeds)])
                ratio = np.where(np.isfinite(needed), np.minimum(plain_queries, CAP) / needed, 0.0)
                ratios.setdefault((method, beta), []).extend(ratio.tolist())
                told.append(f"{method} {np.median(ratio):.1f}")
                if method == "secant" and (needed > granted).any():
                    late.append(f"{game} at beta={beta:g}")
            print(f"beta={beta:<6g} {game:26} {np.median(plain_queries):>8g} queries; {', '.join(told)}", flush=True)
    for (method, beta), found in ratios.items():
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        print(f"{method:20} beta={beta:<6g} median {middle:.1f} [{low:.1f}, {high:.1f}], worst {min(found):.1f}")
    medians = {beta: float(np.median(ratios["secant", beta])) for beta in BETAS}
    print(f"later than the theorem: {', '.join(late) or 'none'}")
    print(
        "queries of nash_mp over those of secant: "
        + ", ".join(f"{value:.1f} at beta={beta:g}" for beta, value in medians.items())
        + f"; at least {LEAST:g}"
    )
    return int(min(medians.values()) < LEAST or bool(late))


def queries(algorithm: str, game: str, beta: float, seeds: int) -> Iterator[tuple[float, float]]:
    """Of every seed, the queries to the target, and those that the theorem grants Nash Mirror Prox."""
    for seed in range(seeds):
        words = [f"game={game}", f"algorithm={algorithm}", f"beta={beta}", f"seeds=[{seed}]", "reference=random",
                 "budget.target=null", "equilibrium=always"]  # fmt: skip
        with tempfile.TemporaryDirectory() as place, composed([*words, f"runs_dir={place}"]) as config:
            run = specify(plain(config))
            world = assemble(run)
        assert isinstance(world, TableWorld)
        assert world.equilibria is not None
        trainer = world.trainer(run, NoRecorder())  # type: ignore[arg-type]
        known, found = world.equilibria.log_policy, np.inf
        while trainer.prox.queries[0] < CAP:
            trainer._iterate()
            if simplex.kl(known, trainer.state.policy.log_probabilities).mean() <= TARGET:
                found = float(trainer.prox.queries[0])
                break
        yield found, 2 * np.log(max(float(trainer.kl_0.max()), TARGET) / TARGET) / np.log1p(2 * beta)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of every game")
    sys.exit(main(parser.parse_args().seeds))

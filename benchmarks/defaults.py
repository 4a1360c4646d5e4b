"""The measurements behind the defaults under noise, as the tables of docs/defaults.md.

Parts: `sampled` compares constant steps with those of prox.step_limit=theory; `tabular` and `mlp` compare learning
rates and decay_steps of prox=gradient; `language` does so for the bundled language model, and times its steps and rows
(extra lm, half an hour on two cores). Each cell is the exploitability at the end over that of the reference, averaged
over seeds: above 1 the method made the policy worse.

Run from the checkout: python -m benchmarks.defaults [PART ...].
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from nlhf.launch.compose import composed, plain
from nlhf.specification import specify
from nlhf.world import assemble

VOTES = ["game=random_tournament", "game.actions=20", "feedback=vote", "prox=sampled", "budget.queries=300000"]
SAMPLED = ("nash_mp", "optimistic", "omd", "egpo", "nash_md", "mpo", "nash_prox", "nash_prox_fast", "nash_mp_ema",
           "nash_ema_pg", "self_play", "online_ipo", "nash_md_pg", "ipo_md", "inpo", "sppo")  # fmt: skip
GRADIENT = ("nash_prox", "nash_prox_fast", "nash_mp_ema", "nash_mp", "omd", "optimistic", "inpo", "online_ipo",
            "online_dpo", "nash_md_pg", "ipo_md", "nash_ema_pg")  # fmt: skip
README_GAME = ["game=contextual", "prox=gradient", "budget.iterations=null"]
CYCLIC_GAME = [*README_GAME, "game.actions=100", "game.features=4", "game.dimension=2", "game.scale=20"]


class Rows:
    """A recorder that keeps the first and the last row of every seed."""

    def __init__(self) -> None:
        self.first: dict[int, dict[str, Any]] = {}
        self.last: dict[int, dict[str, Any]] = {}

    def row(self, seed: int, values: dict[str, Any], policy: object) -> None:
        self.first.setdefault(seed, values)
        self.last[seed] = values

    def checkpoint(self, content: dict[str, Any]) -> None:
        pass


def trained(overrides: Sequence[str]) -> Rows:
    """The rows of one run."""
    with composed(["equilibrium=never", "budget.target=null", *overrides]) as config:
        run = specify(plain(config))
    rows = Rows()
    assemble(run).trainer(run, rows).run()
    return rows


def ratio(overrides: Sequence[str], column: str = "exploitability") -> str:
    """Exploitability at the end over that at the start, mean over seeds; or why there is none."""
    try:
        rows = trained(overrides)
    except Exception as problem:
        return type(problem).__name__
    return f"{np.mean([rows.last[seed][column] / rows.first[seed][column] for seed in rows.first]):.3f}"


def table(rows: Iterable[str], columns: dict[str, Sequence[str]], common: Sequence[str]) -> None:
    """Print one table: an algorithm in each row, overrides in each column."""
    print(f"\n`{' '.join(common)}`\n\n| algorithm | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    for algorithm in rows:
        cells = [ratio([*common, f"algorithm={algorithm}", *overrides]) for overrides in columns.values()]
        print(f"| `{algorithm}` | {' | '.join(cells)} |", flush=True)


def sampled() -> None:
    """Constant steps against prox.step_limit=theory."""
    limits = {"constant": "null", "theory": "theory"}
    for opponents in (1, 8):
        columns = {f"{name}, beta {beta}": [f"prox.step_limit={limit}", f"beta={beta}"]
                   for beta, (name, limit) in itertools.product((0.003, 0.05, 0.3), limits.items())}  # fmt: skip
        table(SAMPLED, columns, [*VOTES, f"prox.opponents={opponents}", "seeds=4"])


def gradient(policy: str) -> None:
    """Learning rates and decay_steps of one policy family."""
    rates = {"tabular": (0.001, 0.003, 0.01), "mlp": (0.0003, 0.001, 0.003)}[policy]
    for game, beta in itertools.product((README_GAME, CYCLIC_GAME), (0.003, 0.05)):
        columns = {f"{rate}, decay {decay}": [f"prox.learning_rate={rate}", f"prox.decay_steps={decay}"]
                   for rate, decay in itertools.product(rates, ("null", 300))}  # fmt: skip
        table(GRADIENT, columns, [*game, f"policy={policy}", f"beta={beta}", "budget.queries=300000", "seeds=3"])


PARTS = {"sampled": sampled, "tabular": partial(gradient, "tabular"), "mlp": partial(gradient, "mlp")}


def main() -> None:
    """Measure the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="of the measurement (default: all)")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for name in parser.parse_args().parts or PARTS:
        started = time.perf_counter()
        PARTS[name]()
        print(f"\n{name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()

"""The measurements behind the defaults under noise, as the tables of docs/defaults.md.

Parts: `sampled` compares constant steps with those of prox.step_limit=theory, `unregularised` does so at beta = 0 for
the last policy and for the average; `tabular` and `mlp` compare learning
rates and decay_steps of prox=gradient; `language` compares learning rates of the bundled language model and `costs`
times its steps and rows (extra lm, half an hour on two cores). Each cell of the first four is the exploitability at
the end over that of the reference, averaged over seeds: above 1 the method made the policy worse.

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
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from nlhf.runner.trainer import Trainer

VOTES = ["game=random_tournament", "game.actions=20", "feedback=vote", "prox=sampled", "budget.queries=100000"]
SAMPLED = ("nash_mp", "optimistic", "omd", "egpo", "nash_md", "mpo", "nash_prox", "nash_prox_fast", "nash_mp_ema",
           "nash_ema_pg", "self_play", "online_ipo", "nash_md_pg", "ipo_md", "inpo", "sppo")  # fmt: skip
SELF_PLAY = ("online_ipo", "nash_md_pg")
README_GAME = ["game=contextual", "prox=gradient", "budget.iterations=null"]
LANGUAGE = ["game=text", "policy=causal_lm", "prox=gradient", "algorithm=nash_prox_fast", "policy.max_new_tokens=16",
            "game.test_prompts=24", "beta=0.05", "budget.queries=null", "budget.iterations=10"]  # fmt: skip
CYCLIC_GAME = [*README_GAME, "game.actions=100", "game.features=4", "game.dimension=2", "game.scale=20"]


class Rows:
    """A recorder that keeps all rows, and the first and the last one of every seed."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.first: dict[int, dict[str, Any]] = {}
        self.last: dict[int, dict[str, Any]] = {}

    def row(self, seed: int, values: dict[str, Any], policy: object) -> None:
        self.all.append(values)
        self.first.setdefault(seed, values)
        self.last[seed] = values

    def checkpoint(self, content: dict[str, Any]) -> None:
        pass


def trained(overrides: Sequence[str]) -> Rows:
    """The rows of one run."""
    rows = Rows()
    trainer(overrides, rows).run()
    return rows


def trainer(overrides: Sequence[str], rows: Rows) -> Trainer:
    """The trainer of a run that sends its rows here."""
    with composed(["equilibrium=never", "budget.target=null", *overrides]) as config:
        run = specify(plain(config))
    return assemble(run).trainer(run, rows)


def ratio(overrides: Sequence[str], column: str = "exploitability") -> str:
    """Exploitability at the end over that at the start, mean over seeds; or why there is none."""
    try:
        rows = trained(overrides)
    except Exception as problem:
        return type(problem).__name__
    return f"{np.mean([rows.last[seed][column] / rows.first[seed][column] for seed in rows.first]):.3f}"


def table(
    rows: Iterable[str],
    columns: dict[str, Sequence[str]],
    common: Sequence[str],
    quantity: str = "exploitability",
) -> None:
    """Print one table of `quantity`: an algorithm in each row, overrides in each column."""
    print(f"\n`{' '.join(common)}`\n\n| algorithm | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    for algorithm in rows:
        cells = [ratio([*common, f"algorithm={algorithm}", *overrides], quantity) for overrides in columns.values()]
        print(f"| `{algorithm}` | {' | '.join(cells)} |", flush=True)


def sampled() -> None:
    """Constant steps against prox.step_limit=theory."""
    limits = {"constant": "null", "theory": "theory"}
    columns = {f"{name}, beta {beta}": [f"prox.step_limit={limit}", f"beta={beta}"]
               for beta, (name, limit) in itertools.product((0.003, 0.05), limits.items())}  # fmt: skip
    table(SAMPLED, columns, [*VOTES, "prox.opponents=4", "seeds=2"])


def unregularised() -> None:
    """Both kinds of steps at beta = 0, where theory is about the average of the policies."""
    columns = {"constant": ["prox.step_limit=null"], "theory": ["prox.step_limit=theory"]}
    for quantity in ("exploitability", "average_exploitability"):
        print(f"\n{quantity}:")
        table(("nash_mp", "optimistic", "sppo"), columns, [*VOTES, "beta=0", "prox.opponents=4", "seeds=2"], quantity)


def tabular() -> None:
    """Learning rates of tables, from votes."""
    common = [*README_GAME, "policy=tabular", "feedback=vote", "beta=0.05", "budget.queries=200000", "seeds=2"]
    table(("nash_prox", *SELF_PLAY), _rates((0.003, None), (0.003, 300), (0.01, None), (0.01, 300)), common)


def mlp() -> None:
    """Learning rates of perceptrons, on the README's game and on a cyclic one."""
    for beta in (0.05, 0.003):
        common = [*README_GAME, "policy=mlp", f"beta={beta}", "budget.queries=500000", "seeds=1"]
        table(SELF_PLAY, _rates((0.0003, None), (0.001, None), (0.003, None), (0.001, 300)), common)
        common = [*CYCLIC_GAME, "policy=mlp", f"beta={beta}", "budget.queries=200000", "seeds=2"]
        table(("nash_prox", *SELF_PLAY, "online_dpo"), _rates((0.003, None), (0.001, 300), (0.0003, 300)), common)


def _rates(*pairs: tuple[float, int | None]) -> dict[str, Sequence[str]]:
    """A column for each learning rate and decay_steps."""
    return {f"{rate}, {'constant' if decay is None else f'decay {decay}'}":
            [f"prox.learning_rate={rate}", f"prox.decay_steps={decay or 'null'}"] for rate, decay in pairs}  # fmt: skip


def language() -> None:
    """Learning rates of the bundled model, and what a step and a row cost."""
    print(
        f"\n`{' '.join(LANGUAGE)}`\n\n| learning rate | clip | step | KL to the reference | win rate |\n|{' --- |' * 5}"
    )
    for rate, clip in ((0.003, "null"), (0.0002, "null"), (0.0002, 1.0)):
        rows = trained([*LANGUAGE, f"prox.learning_rate={rate}", f"prox.clip={clip}"]).all
        for row in rows[1:]:
            error, win = row["kl_standard_error"], row["test_win_rate_vs_reference"]
            ends = f"[{row['win_rate_low']:.2f}, {row['win_rate_high']:.2f}]"
            print(f"| {rate} | {clip} | {row['iteration']} | {row['test_kl_to_reference']:.2f} ± {error:.2f} | "
                  f"{win:.2f} {ends} |", flush=True)  # fmt: skip


def costs() -> None:
    """Seconds of a step and of a row of the bundled model, with default settings."""
    run = trainer([*LANGUAGE[:4], "beta=0.05"], Rows())
    record = partial(run._record, np.ones(1, bool))
    for name, call in (("first row", record), ("step", run._iterate), ("row", record), ("step", run._iterate)):
        started = time.process_time()
        call()
        print(f"{name}: {time.process_time() - started:.1f} CPU seconds", flush=True)


PARTS = {
    "sampled": sampled,
    "unregularised": unregularised,
    "tabular": tabular,
    "mlp": mlp,
    "language": language,
    "costs": costs,
}


def main() -> None:
    """Measure the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of the measurement: {', '.join(PARTS)} (default: all)")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for name in parser.parse_args().parts or PARTS:
        started = time.perf_counter()
        PARTS[name]()
        print(f"\n{name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()

"""The votes that asking rules need to certify an exploitability of 0.05, `python -m benchmarks.asking [--long]`.

The median over games of 20 seeds, beside a limit: 1.5 times the median of an independent prototype, with other seeds.
The exploitability of every certified policy is compared with its bound. `--long` adds 19 and 20 items. At the end:
how long the rule takes to choose a batch.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from nlhf.asking.certified import CERTIFIED, CertifiedRule
from tests.asking_games import GAMES, WAYS, needed

SEEDS = range(40, 60)
MEDIANS = {  # game, items -> by one look, uniform and asking
    ("Bradley-Terry", 5): (230, 620, 160),
    ("Bradley-Terry", 10): (3780, 4635, 580),
    ("random", 5): (2260, 4450, 1829),
    ("random", 10): (22050, 29475, 7076),
    ("cycle of three", 10): (20025, 35730, 3102),
    ("all in the equilibrium", 5): (3330, 3670, 3489),
    ("all in the equilibrium", 9): (19440, 11988, 11408),
}
LONG = {
    ("Bradley-Terry", 20): (21660, 35340, 1823),
    ("random", 20): (136990, 124450, 36879),
    ("cycle of three", 20): (102600, 182780, 4955),
    ("all in the equilibrium", 19): (135774, 56943, 48499),
}


def compare(medians: dict[tuple[str, int], tuple[int, ...]], seeds: range) -> bool:
    """Print a line for each game and way; True if all are within their limits."""
    within, broken = True, 0
    print(f"{'game':<24}{'items':>6}  {'way':<20}{'votes':>9}{'limit':>10}")
    for (game, n), limits in medians.items():
        for way, median in zip(WAYS, limits, strict=True):
            stops = [needed(game, n, way, seed) for seed in seeds]
            votes = float(np.median([stop.votes for stop, _ in stops]))
            broken += sum(true > stop.exploitability for stop, true in stops)
            within &= votes <= 1.5 * median
            print(f"{game:<24}{n:>6}  {way:<20}{votes:>9.0f}{1.5 * median:>10.0f}", flush=True)
    studies = len(medians) * len(WAYS) * len(seeds)
    print(f"{broken} of {studies} bounds are below the true exploitability; at most {CERTIFIED.delta:.0%} may be.")
    return within and broken <= CERTIFIED.delta * studies


def milliseconds(n: int, repeats: int = 10) -> float:
    """The fastest choice of a batch for n items, in milliseconds."""
    rng = np.random.default_rng(0)
    preference = GAMES["random"](n, rng)
    rules = [CertifiedRule(0.05 - k * 1e-6, 4, 0.15, 0.6) for k in range(repeats)]  # no certificate is computed before
    above = np.triu(np.full((n, n), 200), 1)
    won = rng.binomial(above, preference)
    wins, votes, times = won + (above - won).T, above + above.T, []
    for rule in rules:
        start = time.perf_counter()
        rule.numbers(wins, votes, 100, rng)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="19 and 20 items, too")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="fewer games")
    options = parser.parse_args()
    fine = compare(MEDIANS | (LONG if options.long else {}), SEEDS[: options.seeds])
    for n in (5, 20, 60):
        print(f"choosing a batch for {n} items: {milliseconds(n):.1f} ms")
    sys.exit(not fine)

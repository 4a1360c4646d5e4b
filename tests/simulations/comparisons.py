"""Tests and intervals of studies: shared seeds, several settings, misses, ties, skewed costs, choices of the best."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from nlhf.analysis.comparison import compare
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.horizon import horizons
from nlhf.analysis.ranks import group_of
from nlhf.analysis.summary import summarise
from nlhf.analysis.tuning import judged
from tests.simulations.cell import Cell, Measure, Outcome

BUDGET = 1e6
LEVEL = 0.05


def table_of(costs: np.ndarray, groups: bool = False) -> pd.DataFrame:
    """The observations of methods x settings x seeds; infinite costs miss the target.

    Args:
        costs: (methods, settings, seeds).
        groups: True if every setting is a group of its own.
    """
    method, setting, seed = (axis.ravel() for axis in np.indices(costs.shape))
    cost = costs.ravel()
    reached = np.isfinite(cost)
    table = pd.DataFrame({
        "group": [f"s{number}" if groups else "all" for number in setting],
        "setting": [f"s{number}" for number in setting],
        "method": [f"m{number}" for number in method],
        "algorithm": [f"m{number}" for number in method],
        "seed": seed,
        "cost": np.where(reached, cost, BUDGET),
        "reached": reached,
        "spent": np.where(reached, cost, BUDGET),
        "status": "completed",
        "folder": "runs",
        "random": True,
        "curve": np.arange(len(cost)),
        "replica": False,
        "smallest": 1e-9,
        "rate": np.nan,
        "bound_rate": np.nan,
    })  # fmt: skip
    table["cost_before"] = table["cost_after"] = table["cost"]
    horizon = horizons(table, Criterion())
    table["horizon"], table["hit"] = horizon, reached & (table["cost"] <= horizon)
    table["score"] = np.log10(table["cost"].where(table["hit"], horizon))
    table["value"] = table["final"] = table["area"] = np.where(reached, -6.0, -1.0)
    return table


def drawn(
    rng: np.random.Generator, methods: int, settings: int, seeds: int, correlation: float = 0.0, misses: float = 0.0,
    skew: bool = False, ties: bool = False,
) -> np.ndarray:  # fmt: skip
    """Costs (methods, settings, seeds) of equal methods, whose logarithms share a part over the settings of a seed."""
    shared = rng.standard_normal((methods, 1, seeds))
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal((methods, settings, seeds))
    logs = np.exp(noise) if skew else 0.3 * noise
    costs = np.exp(5 + logs + rng.standard_normal((1, settings, seeds)))
    if ties:
        costs = np.exp2(np.round(np.log2(costs)))
    costs[rng.random(costs.shape) < misses] = np.inf
    return costs


def _test(**options: object) -> Callable[[np.random.Generator], Outcome]:
    """The test of two equal methods."""

    def simulate(rng: np.random.Generator) -> bool:
        table = table_of(drawn(rng, 2, **options))  # type: ignore[arg-type]
        return bool(compare(table)["p"].iloc[0] < LEVEL)

    return simulate


def _three(rng: np.random.Generator) -> bool:
    """Holm's correction for three equal methods."""
    return bool((compare(table_of(drawn(rng, 3, settings=1, seeds=12)))["p_holm"] < LEVEL).any())


def _any_setting(rng: np.random.Generator) -> bool:
    """True if two equal methods differ on at least one of 20 settings."""
    table = table_of(drawn(rng, 2, settings=20, seeds=15), groups=True)
    return bool((compare(table)["p_study"] < LEVEL).any())


def _best_of(configurations: int) -> Callable[[np.random.Generator], Outcome]:
    """One algorithm with several equal configurations against one with a single configuration."""

    def simulate(rng: np.random.Generator) -> bool:
        table = table_of(drawn(rng, configurations + 1, settings=1, seeds=18))
        table = table.assign(algorithm=np.where(table["method"] == "m0", "one", "many"))
        return bool((compare(judged(table))["p_holm"] < LEVEL).any())

    return simulate


def _ranges(shift: float) -> Callable[[np.random.Generator], Outcome]:
    """True if the possible ranks of all methods hold: those of equal methods overlap, others are in order."""

    def simulate(rng: np.random.Generator) -> bool:
        costs = drawn(rng, 4, settings=2, seeds=12, correlation=0.5)
        costs = costs * np.exp(shift * np.arange(4))[:, None, None]
        ranges = group_of(table_of(costs)).rank_ranges
        true = [(1, 4)] * 4 if shift == 0 else [(number, number) for number in range(1, 5)]
        return all(ranges[f"m{n}"][0] <= low and ranges[f"m{n}"][1] >= high for n, (low, high) in enumerate(true))

    return simulate


def _median_cost(**options: object) -> Callable[[np.random.Generator], Outcome]:
    """The interval of the median cost; misses move the median up."""

    @cache
    def truth() -> float:
        pool = drawn(np.random.default_rng(0), 1, 1, 400_001, skew=bool(options.get("skew")))
        misses = float(options.get("misses", 0.0))  # type: ignore[arg-type]
        return float(np.quantile(pool, 0.5 / (1 - misses)))

    def simulate(rng: np.random.Generator) -> bool:
        (row,) = summarise(table_of(drawn(rng, 1, **options))).itertuples()  # type: ignore[arg-type]
        return bool(row.cost_low <= truth() <= row.cost_high)

    return simulate


def _ratio(column: str, truth: float, **options: object) -> Callable[[np.random.Generator], Outcome]:
    """The interval of a comparison of two equal methods."""

    def simulate(rng: np.random.Generator) -> bool:
        row = compare(table_of(drawn(rng, 2, **options))).iloc[0]  # type: ignore[arg-type]
        return bool(row[f"{column}_low"] <= truth <= row[f"{column}_high"])

    return simulate


def _final(name: str, seeds: int) -> Callable[[np.random.Generator], Outcome]:
    """The interval of a median of lognormal values, or of normal values with one outlier in ten."""
    truth = {"lognormal": 1.0, "one outlier in ten": 0.0}[name]

    def simulate(rng: np.random.Generator) -> bool:
        values = rng.standard_normal(seeds)
        values = np.exp(values) if name == "lognormal" else values * np.where(rng.random(seeds) < 0.1, 30.0, 1.0)
        (row,) = summarise(table_of(np.full((1, 1, seeds), 10.0)).assign(final=values)).itertuples()
        return bool(row.final_low <= truth <= row.final_high)

    return simulate


SHARED = {"settings": 6, "seeds": 10, "correlation": 0.9}
STUDIES: dict[str, dict[str, object]] = {
    "20 seeds": {"settings": 1, "seeds": 20},
    "6 seeds": {"settings": 1, "seeds": 6},
    "10 seeds shared by 6 settings, correlation 0.9": SHARED,
    "20 seeds, 10% miss": {"settings": 1, "seeds": 20, "misses": 0.1},
    "20 seeds, skewed costs": {"settings": 1, "seeds": 20, "skew": True},
    "20 seeds, many ties": {"settings": 1, "seeds": 20, "ties": True},
}
QUICK = 60  # studies in the tests, as a study takes a hundredth of a second
FEW = 30  # of statistics that the same comparison computes


def _cell(
    statistic: str, setting: str, measures: Measure, simulate: Callable[[np.random.Generator], Outcome],
    repetitions: int = 1000, quick: int = QUICK,
) -> Cell:  # fmt: skip
    return Cell(statistic, setting, measures, simulate, repetitions, quick=quick)


CELLS = [
    *(_cell("sign-flip test of mean ranks", name, "size", _test(**options), 2000) for name, options in STUDIES.items()),
    _cell("Holm's correction of all pairs", "3 methods, 12 seeds", "size", _three),
    _cell("some setting with a difference", "20 settings, 15 seeds, p over the study", "size", _any_setting, 400, 20),
    *(
        _cell("tuned on other seeds", f"best of {count} against one, 18 seeds", "size", _best_of(count), 400, 20)
        for count in (12, 30)
    ),
    _cell("possible ranks", "4 equal methods, 12 seeds x 2 settings", "coverage", _ranges(0.0)),
    _cell("possible ranks", "4 different methods, 12 seeds x 2 settings", "coverage", _ranges(0.3)),
    *(
        _cell("median cost", name, "coverage", _median_cost(**options), quick=20)
        for name, options in STUDIES.items()
        if not options.get("ties")
    ),
    *(
        _cell("median ratio", name, "coverage", _ratio("ratio", 1.0, **options), quick=FEW)
        for name, options in STUDIES.items()
    ),
    *(
        _cell("share of better observations", name, "coverage", _ratio("better", 0.5, **options), quick=FEW)
        for name, options in STUDIES.items()
    ),
    *(
        _cell("median of final values", f"{name}, {seeds} seeds", "coverage", _final(name, seeds), quick=20)
        for name in ("lognormal", "one outlier in ten")
        for seeds in (5, 10, 20)
    ),
]

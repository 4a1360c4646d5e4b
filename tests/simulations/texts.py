"""Measured win rates and divergences of language models: intervals, first passages, and paired differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special, stats

from nlhf.analysis.criterion import OF_TEXTS
from nlhf.analysis.row_bounds import FEW_PROMPTS, FEWEST_PROMPTS, upper_bounds
from nlhf.analysis.text_pairs import paired_differences
from nlhf.language.estimates import estimates
from nlhf.stats.clusters import clustered_mean
from nlhf.stats.curves import cost_to_target
from nlhf.stats.equal_divergence import Curve, at_equal_divergence
from nlhf.stats.equal_length import rate_at_equal_length
from tests.simulations.cell import Cell

Measure = Literal["size", "coverage"]
Simulation = Callable[[np.random.Generator], bool | None]
TARGET = 0.4
COMPLETIONS = 8


def _wins(rng: np.random.Generator, shape: tuple[int, ...], chance: np.ndarray | float, shared: float) -> np.ndarray:
    """Won pairs of the given shape, prompts first: `shared` is the correlation of latent scores within a prompt."""
    prompt = rng.standard_normal((shape[0], *([1] * (len(shape) - 1))))
    scores = np.sqrt(shared) * prompt + np.sqrt(1 - shared) * rng.standard_normal(shape)
    return np.asarray(scores < stats.norm.ppf(chance))


def _passage(rows: int, prompts: int, shared: float) -> Simulation:
    """Whether a run whose true share of lost pairs falls to the target, and never below it, reaches the target."""
    lost = np.maximum(TARGET, np.linspace(0.5, 0.3, rows))

    def simulate(rng: np.random.Generator) -> bool:
        won = _wins(rng, (prompts, rows), 1 - lost, shared)
        rates = [clustered_mean(column, np.ones(prompts)) for column in won.T.astype(float)]
        losses, low = [1 - rate.value for rate in rates], [rate.low for rate in rates]
        data = pd.DataFrame({"folder": "run", "seed": 0, OF_TEXTS: losses, "win_rate_low": low})
        bounds = upper_bounds(data, OF_TEXTS)
        return not np.isnan(cost_to_target(np.arange(rows), data[OF_TEXTS].to_numpy(), TARGET, bounds))

    return simulate


def _win_rate(prompts: int, chance: float, shared: float) -> Simulation:
    def simulate(rng: np.random.Generator) -> bool:
        won = _wins(rng, (prompts, COMPLETIONS), chance, shared)
        row = estimates(won - 0.5, np.zeros(won.shape))
        return row["win_rate_low"] <= chance <= row["win_rate_high"]

    return simulate


def _divergence(draw: Callable[[np.random.Generator, int], np.ndarray], prompts: int) -> Simulation:
    """Divergences of mean 1; the log-ratio of a completion has twice its divergence as variance."""

    def simulate(rng: np.random.Generator) -> bool:
        divergence = draw(rng, prompts)[:, None]
        log_ratio = rng.normal(divergence, np.sqrt(2 * divergence), (prompts, COMPLETIONS))
        row = estimates(np.zeros(log_ratio.shape), log_ratio)
        return row["kl_low"] <= 1 <= row["kl_high"]

    return simulate


def _pair(chances: tuple[float, float], prompts: int, seeds: int, measures: Measure) -> Simulation:
    """Two methods on the same prompts; completions of a prompt depend on each other across methods and seeds."""
    difference = chances[0] - chances[1]

    def simulate(rng: np.random.Generator) -> bool:
        won = _wins(rng, (prompts, seeds, 2), np.array(chances), 0.5)
        index = pd.MultiIndex.from_product(
            [range(prompts), range(seeds), ["a", "b"]], names=["prompt", "seed", "method"]
        )
        rates = pd.DataFrame({"win_rate": won.ravel().astype(float)}, index).reset_index().assign(setting="text")
        (row,) = paired_differences(rates).to_dict("records")
        if measures == "size":
            return bool(row["p_holm"] < 0.05)
        sign = 1 if row["first"] == "a" else -1
        return bool(row["difference_low"] <= sign * difference <= row["difference_high"])

    return simulate


def _exact_pair(chances: tuple[float, float], ties: float, prompts: int) -> Simulation:
    """One completion of each prompt, of which a share are ties; rejections of equal methods."""

    def simulate(rng: np.random.Generator) -> bool:
        won = _wins(rng, (prompts, 1, 2), np.array(chances), 0.5).astype(float)
        won = np.where(rng.random(won.shape) < ties, 0.5, won).ravel()
        index = pd.MultiIndex.from_product([range(prompts), [0], ["a", "b"]], names=["prompt", "seed", "method"])
        rates = pd.DataFrame({"win_rate": won}, index).reset_index().assign(setting="text")
        (row,) = paired_differences(rates).to_dict("records")
        return bool(row["exact"] and row["p"] < 0.05)

    return simulate


def _equal_kl(gains: tuple[float, float], prompts: int, measures: Measure) -> Simulation:
    """Runs whose true win rate is 0.5 + gain sqrt(KL), with rows at different divergences that depend on the prompt."""
    true = np.array([0, 0.04, 0.16, 0.5]), np.array([0, 0.3, 0.9, 1.6])

    def simulate(rng: np.random.Generator) -> bool | None:
        sizes, curves = rng.exponential(size=prompts), []
        chances = np.stack([0.5 + gain * np.sqrt(points) for gain, points in zip(gains, true, strict=True)])
        rows = _wins(rng, (prompts, 2, 4), chances, 0.5)
        for number, divergences in enumerate(true):
            noise = rng.gamma(4, 0.25, (4, prompts))
            curves.append(Curve(divergences[:, None] * sizes * noise, rows[:, number].T.astype(float)))
        result = at_equal_divergence(*([curve] for curve in curves))
        if result is None or np.isnan(result.p):
            return None
        difference = (gains[0] - gains[1]) * np.sqrt(0.5)
        low, high = result.difference.low, result.difference.high
        return result.p < 0.05 if measures == "size" else bool(low <= difference <= high)

    return simulate


def _equal_length(theta: float, phi: float, prompts: int) -> Simulation:
    """Wins that depend on skewed differences of length."""

    def simulate(rng: np.random.Generator) -> bool | None:
        lengths = rng.normal(10, 30, prompts) + rng.exponential(40, prompts)
        wins = rng.random(prompts) < special.expit(theta + phi * np.tanh(lengths / lengths.std()))
        rate = rate_at_equal_length(wins.astype(float), lengths, np.arange(prompts))
        return None if np.isnan(rate.value) else bool(rate.low <= special.expit(theta) <= rate.high)

    return simulate


DIVERGENCES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "equal divergences": lambda _, n: np.ones(n),
    "exponential divergences": lambda rng, n: rng.exponential(size=n),
    "lognormal divergences": lambda rng, n: rng.lognormal(-0.5, 1.0, n),
    "chi-squared divergences": lambda rng, n: rng.gamma(0.5, 2.0, n),
    "one prompt in ten with all divergence": lambda rng, n: 10.0 * (rng.random(n) < 0.1),
}
PAIRS: tuple[tuple[int, int, float, float, Measure], ...] = (  # prompts, seeds, true win rates
    (16, 1, 0.8, 0.6, "coverage"),
    (16, 1, 0.99, 0.9, "coverage"),
    (64, 1, 0.7, 0.7, "size"),
    (64, 5, 0.7, 0.7, "size"),
    (64, 5, 0.8, 0.6, "coverage"),
)
EACH = f"{COMPLETIONS} completions each"
CELLS = [
    *(
        Cell(
            "first passage of a win rate",
            f"{rows} rows on {prompts} prompts, correlation {shared:g} between rows, never below the target",
            "size",
            _passage(rows, prompts, shared),
        )
        for rows, prompts, shared in ((12, 32, 0.5), (30, 64, 0.0), (30, 64, 0.9))
    ),
    *(
        Cell(
            "interval of a win rate",
            f"{prompts} prompts, {EACH}, correlation {shared:g} within a prompt, true rate {chance:g}",
            "coverage",
            _win_rate(prompts, chance, shared),
        )
        for prompts in (8, 32, 64)
        for chance in (0.5, 0.8)
        for shared in (0.0, 0.5, 1.0)
    ),
    *(
        Cell(
            "interval of a KL divergence",
            f"{prompts} prompts, {EACH}, {name}",
            "coverage",
            _divergence(draw, prompts),
            remark=FEW_PROMPTS if prompts < FEWEST_PROMPTS else "",
        )
        for prompts in (16, 32, 64)
        for name, draw in DIVERGENCES.items()
    ),
    *(
        Cell(
            "paired difference of win rates",
            f"{prompts} prompts, {seeds} {'seed' if seeds == 1 else 'seeds'}, true rates {first:g} and {second:g}",
            measures,
            _pair((first, second), prompts, seeds, measures),
        )
        for prompts, seeds, first, second, measures in PAIRS
    ),
    *(
        Cell(
            "exact test of paired win rates",
            f"{prompts} prompts, one completion each, true rates {first:g} and {second:g}, {ties:.0%} ties",
            "size",
            _exact_pair((first, second), ties, prompts),
        )
        for prompts, first, second, ties in ((16, 0.7, 0.7, 0.0), (64, 0.7, 0.7, 0.3), (256, 0.9, 0.9, 0.3))
    ),
    *(
        Cell(
            "difference of win rates at equal divergence",
            f"{prompts} prompts, 4 rows of each run, gains {first:g} and {second:g}",
            measures,
            _equal_kl((first, second), prompts, measures),
        )
        for prompts, first, second, measures in (
            (32, 0.2, 0.2, "size"),
            (256, 0.2, 0.2, "size"),
            (32, 0.3, 0.1, "coverage"),
            (256, 0.3, 0.1, "coverage"),
        )
    ),
    *(
        Cell(
            "interval of a win rate at equal length",
            f"{prompts} prompts, theta {theta:g}, phi {phi:g}",
            "coverage",
            _equal_length(theta, phi, prompts),
        )
        for prompts in (32, 256)
        for theta, phi in ((0.0, 0.0), (0.5, 1.5), (1.5, -1.0))
    ),
]

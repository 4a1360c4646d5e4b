"""The ranks of methods within blocks, one block per setting and seed.

In a block the method with the lowest restricted cost has rank 1; methods that miss the target come after all others, in
the order of their values at the horizon. Ties share their mean rank. A seed may draw the same game in every setting,
so settings are not independent of each other: the independent unit is the seed, with the mean of its ranks over
settings (J. Demšar, Statistical comparisons of classifiers over multiple data sets, 2006, for mean ranks; R. A. Fisher,
The Design of Experiments, 1935, for the test by signs).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from nlhf.analysis.blocks import DIGITS, block_numbers, distinct_seeds, order_of, with_every_seed
from nlhf.stats.significance import holm, sign_flip

ALPHA = 0.05  # level of all tests
MOST_OPEN = 0.2  # share of a method's observations that may be interrupted


@dataclass(frozen=True)
class Group:
    """The methods of one group of settings, on the blocks that all ranked methods have.

    Args:
        observations: of the ranked methods on their common blocks, without copies of seeds, sorted by seed, setting and
            method: B blocks of k methods.
        unranked: method -> why it has no rank.
        blocks, all_blocks: how many blocks are common, and how many there are.
    """

    observations: pd.DataFrame
    unranked: dict[str, str]
    blocks: int
    all_blocks: int

    @cached_property
    def methods(self) -> list[str]:
        """The k ranked methods, sorted."""
        return sorted(map(str, self.observations["method"].unique()))

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns of the observations, (B, k) each, and `order`, as `order_of` returns it."""
        shape = -1, max(len(self.methods), 1)
        columns = {str(name): values.to_numpy().reshape(shape) for name, values in self.observations.items()}
        return columns | {"order": order_of(self.observations).reshape(shape)}

    @cached_property
    def starts(self) -> np.ndarray:
        """The first block of each of S seeds, (S)."""
        seeds = self.columns["seed"][:, 0]
        return np.flatnonzero(np.r_[True, seeds[1:] != seeds[:-1]]) if len(seeds) else np.zeros(0, int)

    def by_seed(self, values: np.ndarray) -> np.ndarray:
        """The mean of (B, ...) over the blocks of each seed, (S, ...)."""
        counts = np.diff(np.append(self.starts, len(values)))
        return np.add.reduceat(values, self.starts) / counts.reshape(-1, *[1] * (values.ndim - 1))

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """The mean rank of each method, by seed (S, k)."""
        if not self.methods:
            return pd.DataFrame()
        return pd.DataFrame(self.by_seed(stats.rankdata(self.columns["order"], axis=1)), columns=self.methods)

    @cached_property
    def mean_ranks(self) -> pd.Series:
        """The mean rank of each method, the best first."""
        return self.ranks.mean().round(DIGITS).sort_values(kind="stable")

    @property
    def winners(self) -> list[str]:
        """The methods with the lowest mean rank; none if no run of theirs has a finite result."""
        table, means = self.observations, self.mean_ranks
        finite = table["hit"] | np.isfinite(table["value"])
        names = [str(name) for name in means.index[means == means.min()]]
        return names if finite[table["method"].isin(names)].any() else []

    @property
    def settings(self) -> int:
        """The number of settings."""
        return int(self.observations["setting"].nunique())

    def p_value(self, first: str, second: str) -> float:
        """The p-value of the hypothesis that two methods have the same mean rank."""
        return sign_flip((self.ranks[first] - self.ranks[second]).to_numpy())

    @cached_property
    def p_values(self) -> dict[tuple[str, str], float]:
        """Holm's p-value of each pair of methods, in the order of `mean_ranks`."""
        names = list(self.mean_ranks.index)
        pairs = [(a, b) for number, a in enumerate(names) for b in names[number + 1 :]]
        return dict(zip(pairs, holm([self.p_value(*pair) for pair in pairs]), strict=True))

    @cached_property
    def rank_ranges(self) -> dict[str, tuple[int, int]]:
        """The lowest and the highest rank of each method, which hold for all methods at once with 95%.

        The lowest is one more than the number of significantly better methods; the highest leaves room for the
        significantly worse ones (M. Mogstad et al., Inference for Ranks, Review of Economic Studies 91:476, 2024).
        """
        better, worse = dict.fromkeys(self.ranks, 0), dict.fromkeys(self.ranks, 0)
        for (first, second), p in self.p_values.items():
            if p < ALPHA and self.mean_ranks[first] < self.mean_ranks[second]:
                better[second] += 1
                worse[first] += 1
        return {str(name): (1 + better[name], len(better) - worse[name]) for name in better}


def group_of(observations: pd.DataFrame) -> Group:
    """The ranks of the methods of one group.

    A method with more than a fifth of its observations interrupted has no rank. The others are compared on the
    blocks that all of them have. If a few methods have few blocks, the methods with the most blocks are compared: as
    many as give the most observations in common blocks, at least two.
    """
    unranked = _interrupted(observations)
    candidates = with_every_seed(observations[~observations["method"].isin(unranked)])
    block, method = block_numbers(candidates), pd.Categorical(candidates["method"])
    present = np.zeros((block.max(initial=-1) + 1, len(method.categories)), bool)
    present[block, method.codes] = True
    chosen = _largest_common(present)
    common = np.asarray(present[:, chosen].all(axis=1)) & chosen.any()
    for name, count in zip(method.categories[~chosen], present[:, ~chosen].sum(0), strict=True):
        unranked[str(name)] = f"it ran on {count} of {len(present)} settings x seeds"
    table = distinct_seeds(candidates[common[block] & chosen[method.codes]])
    return Group(
        table.sort_values(["seed", "setting", "method"], ignore_index=True), unranked, int(common.sum()), len(present)
    )


def _interrupted(observations: pd.DataFrame) -> dict[str, str]:
    """Methods with too many interrupted runs to have a rank."""
    is_open = ~observations["status"].isin(["completed", "failed"]) & ~observations["hit"]
    reasons = {}
    for name, values in is_open.groupby(observations["method"]):
        if values.mean() > MOST_OPEN:
            reasons[str(name)] = f"{int(values.sum())} of its {len(values)} seeds did not end"
    return reasons


def _largest_common(present: np.ndarray) -> np.ndarray:
    """The methods to compare (k), given in which blocks each of them is present (B, k)."""
    by_size = np.argsort(-present.sum(0), kind="stable")
    common = np.logical_and.accumulate(present[:, by_size], axis=1).sum(0)
    sizes = common * np.arange(1, len(by_size) + 1)
    several = np.flatnonzero(common[1:]) + 2 if common[1:].any() else np.arange(1, min(len(by_size), 1) + 1)
    count = max(several, key=lambda count: (sizes[count - 1], count), default=0)
    return np.isin(np.arange(len(by_size)), by_size[:count])

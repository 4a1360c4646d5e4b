"""Blocks of observations, one per setting and seed, and the order of results within them."""

from __future__ import annotations

import numpy as np
import pandas as pd

BLOCK = ["setting", "seed"]
DIGITS = 12  # of a score or a mean: equal numbers may differ by rounding


def with_every_seed(observations: pd.DataFrame) -> pd.DataFrame:
    """The observations of one group, where a method without randomness has the same result for every seed.

    Such a run stores one seed.
    """
    fixed = observations[~observations["random"].astype(bool)]
    seeds = observations["seed"].unique()
    if fixed.empty or len(seeds) == 1:
        return observations
    copies = fixed.drop(columns="seed").merge(pd.DataFrame({"seed": seeds}), how="cross").assign(replica=True)
    table = pd.concat([observations, copies[list(observations)]], ignore_index=True)
    return table.drop_duplicates(["setting", "method", "seed"], ignore_index=True)


def distinct_seeds(observations: pd.DataFrame) -> pd.DataFrame:
    """The observations without seeds that only repeat others, and so are not further evidence."""
    ordered = observations.sort_values("seed", kind="stable")
    repeated = ordered.duplicated(["setting", "method", "curve"])
    repeats = repeated.groupby(ordered["seed"]).transform("all").astype(bool)
    return observations[~repeats.reindex(observations.index)]


def block_numbers(observations: pd.DataFrame) -> np.ndarray:
    """The number of the block (setting, seed) of each observation."""
    setting, seed = (pd.factorize(observations[name])[0] for name in BLOCK)
    return np.unique(setting * (seed.max(initial=0) + 1) + seed, return_inverse=True)[1]


def order_of(table: pd.DataFrame) -> np.ndarray:
    """Integers in the order of the results: by restricted cost, then misses by their values at the horizon."""
    hit = table["hit"].to_numpy(bool)
    score = np.where(hit, table["score"].to_numpy(float).round(DIGITS), np.inf)
    value = np.where(hit, 0.0, table["value"].to_numpy(float).round(DIGITS))
    order = np.lexsort((value, score))
    score, value = score[order], value[order]
    number = np.zeros(len(order), int)
    number[order[1:]] = np.cumsum((score[1:] != score[:-1]) | (value[1:] != value[:-1]))
    return number


def block_ranks(table: pd.DataFrame) -> pd.Series:
    """The rank of each observation among those of its setting and seed."""
    return pd.Series(order_of(table), index=table.index).groupby([table["setting"], table["seed"]]).rank()

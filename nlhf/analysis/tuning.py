"""Every algorithm chooses its configuration on tuning seeds, and is judged on the others.

A configuration that is chosen and judged on the same seeds looks better than it is, the more so the more were tried.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.blocks import DIGITS, block_ranks
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.summary import summarise

SHARE = 1 / 3  # of the seeds, for tuning


def tuned(observations: pd.DataFrame, share: float = SHARE) -> pd.DataFrame:
    """A row per (group, algorithm), the best first in each group.

    The first `share` of the sorted seeds chooses the configuration with the lowest mean rank among those of its
    algorithm. The other seeds judge it.

    Columns: those of `summarise`, on the seeds that judge; `tried`, how many configurations there were;
    `tuning_seeds`, the number of seeds that choose; `tuning_cost`, what all tries together spent.

    Raises: AnalysisError for fewer than two seeds.
    """
    table = summarise(judged(observations, share))
    chooses = observations["seed"].isin(tuning_seeds(observations, share))
    of_algorithm = observations[chooses].groupby(["group", "algorithm"])
    keys = pd.MultiIndex.from_frame(table[["group", "algorithm"]])
    return table.assign(
        tried=of_algorithm["method"].nunique().reindex(keys).to_numpy(),
        tuning_seeds=len(tuning_seeds(observations, share)),
        tuning_cost=of_algorithm["spent"].sum().reindex(keys).to_numpy(float),
    )


def judged(observations: pd.DataFrame, share: float = SHARE) -> pd.DataFrame:
    """The observations of the chosen configurations on the seeds that judge.

    Raises: AnalysisError for fewer than two seeds.
    """
    chooses = observations["seed"].isin(tuning_seeds(observations, share))
    chosen = [(group, _best(members)) for (group, _), members in observations[chooses].groupby(["group", "algorithm"])]
    pairs = pd.MultiIndex.from_frame(observations[["group", "method"]])
    return observations[~chooses & pairs.isin(chosen)]


def tuning_seeds(observations: pd.DataFrame, share: float = SHARE) -> list[int]:
    """The seeds that choose."""
    seeds = np.sort(observations["seed"].unique())
    if len(seeds) < 2:
        raise AnalysisError(
            "tuning needs two seeds or more, some to choose with and others to judge on: run more seeds."
        )
    return [int(seed) for seed in seeds[: max(1, round(share * len(seeds)))]]


def is_tuned(observations: pd.DataFrame) -> bool:
    """True if several algorithms are compared, some had a choice of configurations, and the seeds can be split."""
    configurations = observations.groupby(["group", "algorithm"])["method"].nunique()
    several = configurations.groupby("group").size().max() > 1
    return bool(several and configurations.max() > 1 and observations["seed"].nunique() > 2)


def _best(members: pd.DataFrame) -> str:
    """The configuration with the lowest mean rank, the first by name among equals."""
    means = block_ranks(members).groupby(members["method"]).mean().round(DIGITS)
    return str(means.idxmin())

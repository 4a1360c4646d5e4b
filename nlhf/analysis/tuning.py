"""Every algorithm chooses its configuration on tuning seeds, and is judged on the others.

A configuration that is chosen and judged on the same seeds looks better than it is, the more so the more were tried.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.errors import AnalysisError
from nlhf.stats import bootstrap

SHARE = 1 / 3  # of the seeds, for tuning
COLUMNS = [
    "group",
    "algorithm",
    "method",
    "tried",
    "tuning_seeds",
    "seeds",
    "tuning_cost",
    "reached",
    "score",
    "score_low",
    "score_high",
    "final",
    "final_low",
    "final_high",
]


def tuned(observations: pd.DataFrame, share: float = SHARE) -> pd.DataFrame:
    """A row per (group, algorithm), the best first in each group.

    The first `share` of the sorted seeds chooses the method with the lowest mean `score`, or the lowest mean `final` if
    none of the algorithm's methods reaches the target. The other seeds judge it.

    Columns: `group, algorithm, method`, the one chosen; `tried`, how many configurations there were; `tuning_seeds`,
    `seeds`, the numbers of both; `tuning_cost`, what all tries together spent; on the seeds that judge `reached`, the
    share that reaches the target, and the means `score` and `final`, with intervals `_low` and `_high` that leave
    replicas out.

    Raises: AnalysisError for fewer than two seeds.
    """
    seeds = np.sort(observations["seed"].unique())
    count = max(1, round(share * len(seeds)))
    if len(seeds) < 2:
        raise AnalysisError(
            "tuning needs two seeds or more, some to choose with and others to judge on: run more seeds."
        )
    tunes = set(seeds[:count])
    rows = []
    for (group, algorithm), members in observations.groupby(["group", "algorithm"], sort=True):
        chooses = members["seed"].isin(tunes)
        tuning, judging = members[chooses], members[~chooses]
        quantity = "score" if tuning["reached"].any() else "final"
        means = tuning.groupby("method")[quantity].mean()
        if means.isna().all():
            continue
        method = means.idxmin()
        chosen = judging[judging["method"] == method]
        rows.append(
            {
                "group": group,
                "algorithm": algorithm,
                "method": method,
                "tried": len(means),
                "tuning_seeds": count,
                "seeds": len(chosen),
                "tuning_cost": float(tuning["spent"].sum()),
                "reached": float(chosen["reached"].mean()),
                **_mean(chosen, "score"),
                **_mean(chosen, "final"),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["group", "score", "final"], ignore_index=True)


def _mean(chosen: pd.DataFrame, name: str) -> dict[str, float]:
    values = chosen[name].dropna().to_numpy()
    low, high = bootstrap.mean_interval(chosen.loc[~chosen["replica"], name].dropna().to_numpy())
    return {name: float(values.mean()) if len(values) else np.nan, f"{name}_low": low, f"{name}_high": high}

"""How the order of methods depends on the target and on the horizon, which the user chose."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.observations import observations
from nlhf.analysis.ranks import group_of
from nlhf.stats.text import number

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the horizon
FACTORS = (100.0, 10.0, 1.0, 0.1, 0.01)  # of the target
MOST_ROWS = 1_000_000  # of a study: these tables evaluate it several times


def mean_ranks(rows: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    """The mean rank of each method over all settings, at several targets and horizons.

    Methods that did not run everywhere are left out.

    Args:
        rows: of all runs, as `load` returns them.

    Returns: a row per (varied, factor, method) with `mean_rank`; `varied` is `target` or `horizon`.
    """
    if len(rows) > MOST_ROWS:
        return pd.DataFrame(columns=["varied", "factor", "method", "mean_rank"])
    shares = {("horizon", share): observations(rows, criterion, share) for share in SHARES}
    targets = {
        ("target", factor): observations(rows, replace(criterion, target=factor * criterion.target))
        for factor in FACTORS
        if factor != 1
    }
    tables = {**shares, **targets, ("target", 1.0): shares["horizon", 1.0]}
    return pd.DataFrame(
        [
            {"varied": varied, "factor": factor, "method": str(method), "mean_rank": rank}
            for (varied, factor), table in tables.items()
            for method, rank in group_of(table.assign(group="all")).mean_ranks.items()
        ],
        columns=["varied", "factor", "method", "mean_rank"],
    )


def sentences(table: pd.DataFrame) -> list[str]:
    """A sentence for the target and one for the horizon if the order of two methods depends on it.

    Args:
        table: of `mean_ranks`.
    """
    lines = []
    for varied, members in table.groupby("varied", sort=True):
        ranks = members.pivot(index="method", columns="factor", values="mean_rank")
        reversals = {float(factor): _reversed(ranks[1.0], ranks[factor]) for factor in ranks.columns.to_numpy(float)}
        changed = {factor: pairs for factor, pairs in reversals.items() if pairs}
        if changed:
            factor = min(changed, key=lambda factor: max(factor, 1 / factor))
            first, second = changed[factor][0]
            pairs = len(ranks) * (len(ranks) - 1) // 2
            most = max(map(len, changed.values()))
            lines.append(
                f"The order depends on the {varied}: at {_times(factor)} the {varied}, {second} ranks before {first} "
                f"(up to {most} of {pairs} pairs of methods change)."
            )
    return lines


def _reversed(base: pd.Series, changed: pd.Series) -> list[tuple[str, str]]:
    """The pairs (a, b) of methods where a ranks before b in `base` and after b in `changed`, the best a first."""
    order = list(base.sort_values(kind="stable").index)
    return [(a, b) for a, b in combinations(order, 2) if base[a] < base[b] and changed[a] > changed[b]]


def _times(factor: float) -> str:
    return f"{number(factor)} times" if factor >= 1 else f"1/{number(1 / factor)} of"

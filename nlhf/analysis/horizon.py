"""The horizon of a setting: the cost at which its methods are compared.

A method that has not reached the target by the horizon misses it. A common horizon makes budgets of different methods
comparable, and a method that is added with a larger budget changes nothing for the others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlhf.analysis.criterion import Criterion


def horizons(table: pd.DataFrame, criterion: Criterion, share: float = 1.0) -> pd.Series:
    """The horizon of the setting of each observation.

    By default it is the smallest budget that all methods had there: the least over methods of the largest cost that a
    completed run spent without reaching the target. A method whose completed runs all reach it had enough. If all
    methods had enough, the horizon is the largest cost of a run.

    Args:
        table: with the columns setting, method, status, reached and spent.
        share: of the horizon that is used.
    """
    if criterion.horizon is not None:
        return pd.Series(share * criterion.horizon, index=table.index)
    missed = table["spent"].where((table["status"] == "completed") & ~table["reached"])
    budget = missed.groupby([table["setting"], table["method"]]).max()
    smallest = budget.groupby("setting").min()
    largest = table.groupby("setting")["spent"].max()
    return share * table["setting"].map(smallest.fillna(largest))


def limiting(table: pd.DataFrame) -> dict[str, float]:
    """The methods whose budget is the horizon of a setting where others spent more, with the smallest such horizon."""
    missed = table[(table["status"] == "completed") & ~table["reached"]]
    budget = missed.groupby(["setting", "method"])["spent"].max()
    largest = table.groupby("setting")["spent"].max()
    limits: dict[str, float] = {}
    horizon = table.groupby("setting")["horizon"].first()
    for setting, method, spent in budget.reset_index().itertuples(index=False):
        if np.isclose(spent, horizon[setting]) and largest[setting] > 1.01 * horizon[setting]:
            limits[method] = min(float(horizon[setting]), limits.get(method, np.inf))
    return limits

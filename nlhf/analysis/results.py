"""A study under one view: what tables, sentences, figures and the report are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import pandas as pd

from nlhf.analysis import conclusions
from nlhf.analysis.criterion import View
from nlhf.analysis.observations import UNIT, units
from nlhf.analysis.study import Study, load_study
from nlhf.stats.comparison import compare, overall, summarise

MOST_METHODS = 12  # in one panel, and in one family of tests


@dataclass(frozen=True)
class Material:
    """A study, its observations (`units`) and their table (`summarise`), under one view."""

    study: Study
    units: pd.DataFrame
    summary: pd.DataFrame
    view: View

    @cached_property
    def focused(self) -> Material:
        """Where more methods ran on a setting than can be shown and tested, the best one of each algorithm."""
        ranked = self.summary.sort_values(["group", "rank"])
        if ranked.groupby("group").size().max() <= MOST_METHODS:
            return self
        best = ranked.drop_duplicates(["group", "algorithm"])
        units = self.units[_pairs(self.units, "group").isin(_pairs(best, "group"))]
        rows = self.study.rows
        rows = rows[_pairs(rows, "setting").isin(_pairs(units, "setting"))]
        return Material(replace(self.study, rows=rows), units, best, self.view)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """`compare` of the observations of what is `focused`."""
        return compare(self.focused.units)

    @cached_property
    def overall(self) -> pd.DataFrame:
        """`overall` of the observations."""
        return overall(self.units)

    @property
    def cautions(self) -> list[str]:
        """What a reader must know before believing the table."""
        observed = len(self.study.rows[UNIT].drop_duplicates())
        return [*conclusions.cautions(self.focused.units, self.summary, self.study.runs),
                *conclusions.unmeasured(observed - len(self.units), self.view), *self._of_view()]  # fmt: skip

    def _of_view(self) -> list[str]:
        """What this very question hides."""
        found = []
        if self.view.x == "seconds" and self.units["replica"].any():
            found.append(
                "The seeds of a run share one clock: a run is one observation of seconds, and no test is made."
            )
        if self.view.metric == "exploitability" and any("average" in caveat for caveat in self.caveats.values()):
            found.append("Of some methods only the average converges: see --metric average_exploitability for theirs.")
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The first row of every run that has rows."""
        return self.study.rows.drop_duplicates("folder")

    @cached_property
    def caveats(self) -> dict[str, str]:
        """Method -> where it rests, for those that rest elsewhere than at the equilibrium."""
        method = dict(zip(self.runs["folder"], self.runs["method"], strict=True))
        found = ((run["folder"], (run["summary"].get("method") or {}).get("caveat")) for run in self.study.runs)
        return {method[folder]: caveat for folder, caveat in found if caveat and folder in method}


def _pairs(table: pd.DataFrame, column: str) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[[column, "method"]])


def gather(folder: str | PathLike[str], view: View) -> Material:
    """Load a folder of runs and take its observations.

    Raises: AnalysisError.
    """
    study = load_study(folder)
    if "beta" not in study.rows:  # no run has a config
        study = replace(study, rows=study.rows.assign(beta=float("nan")))
    view = view.for_data(study.rows)
    observed = units(study.rows, view)
    return Material(study, observed, summarise(observed), view)

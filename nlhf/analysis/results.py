"""The results of a study under one criterion, the input of tables, figures and reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import pandas as pd

from nlhf.analysis import judge_agreement, robustness, row_bounds, text_curves, text_pairs, text_rows
from nlhf.analysis.arena_ranking import ArenaRanking, read_ranking
from nlhf.analysis.cautions import cautions, unmeasured
from nlhf.analysis.comparison import compare
from nlhf.analysis.criterion import OF_TEXTS, Criterion
from nlhf.analysis.observations import KEYS, observations
from nlhf.analysis.overall import overall
from nlhf.analysis.study import Study, load_study
from nlhf.analysis.summary import summarise
from nlhf.analysis.tuning import is_tuned, judged
from nlhf.stats.equal_divergence import Curve

MOST_METHODS = 12  # in one panel, and in one family of tests


@dataclass(frozen=True)
class Results:
    """A study, its observations and their summary, under one criterion."""

    study: Study
    observations: pd.DataFrame
    summary: pd.DataFrame
    criterion: Criterion
    tuned: bool = False

    @cached_property
    def judged(self) -> Results:
        """The results that the headline and the tests are about.

        If several algorithms had configurations to choose from, these are the configurations that each chose on some
        seeds, on the other seeds (see `tuned`). Otherwise they are these results.
        """
        if not is_tuned(self.observations):
            return self
        observed = judged(self.observations)
        return Results(self.study, observed, summarise(observed), self.criterion, tuned=True)

    @cached_property
    def focused(self) -> Results:
        """These results; if more than MOST_METHODS ran on a setting, only one configuration of each algorithm."""
        ranked = self.summary.sort_values(["group", "rank"])
        if ranked.groupby("group").size().max() <= MOST_METHODS:
            return self
        best = self.judged.summary if self.judged is not self else ranked.drop_duplicates(["group", "algorithm"])
        observed = self.observations[_pairs(self.observations, "group").isin(_pairs(best, "group"))]
        rows = self.study.rows
        rows = rows[_pairs(rows, "setting").isin(_pairs(observed, "setting"))]
        return Results(replace(self.study, rows=rows), observed, best, self.criterion)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """`compare` of the observations."""
        return compare(self.observations)

    @cached_property
    def overall(self) -> pd.DataFrame:
        """`overall` of the observations; an algorithm that chose a configuration in each setting is one method."""
        observed = self.observations
        return overall(observed.assign(method=observed["algorithm"]) if self.tuned else observed)

    @cached_property
    def text_pairs(self) -> pd.DataFrame:
        """`paired_differences` of the language models' win rates."""
        study = self.focused.study
        return text_pairs.paired_differences(text_rows.win_rates(study.rows, study.runs))

    @cached_property
    def text_curves(self) -> dict[tuple[str, str, int], Curve]:
        """Divergences and win rates of language models on every test prompt, by setting, method and seed."""
        return text_rows.curves(self.focused.study.rows, self.focused.study.runs)

    @cached_property
    def at_equal_kl(self) -> pd.DataFrame:
        """`at_equal_kl` of the language models."""
        return text_curves.at_equal_kl(self.text_curves)

    @cached_property
    def arena(self) -> ArenaRanking | None:
        """The ranking of the arena in the study's folder, if its policies have played."""
        return read_ranking(self.study.root / "arena")

    @property
    def text_sentences(self) -> list[str]:
        """Which language model is better: at the end, at equal divergence, at equal length, in the arena."""
        sentences = (
            text_pairs.sentence(self.text_pairs),
            text_curves.sentence(self.at_equal_kl),
            text_pairs.length_sentence(self.text_pairs),
        )
        arena = [] if self.arena is None else [self.arena.sentence]
        return [sentence for sentence in (*sentences, *arena) if sentence]

    @cached_property
    def judge(self) -> str:
        """What the verdicts show about the judge of texts; empty if nothing is known."""
        return judge_agreement.sentence(self.study.root, self.study.runs)

    @property
    def cautions(self) -> list[str]:
        """What a reader must know before believing the table."""
        seeds = len(self.study.rows[KEYS].drop_duplicates())
        return [
            *cautions(self.observations, self.summary, self.study.runs),
            *unmeasured(seeds - len(self.observations), self.criterion),
            *self._of_criterion(),
            *robustness.sentences(self.robustness),
        ]

    def _of_criterion(self) -> list[str]:
        """What this criterion hides."""
        sentences = []
        if self.criterion.x == "seconds" and self.observations["replica"].any():
            sentences.append(
                "The seeds of a run share one clock: a run is one observation of seconds, and no test is made."
            )
        if self.criterion.metric == OF_TEXTS:
            sentences.extend(row_bounds.cautions(self.study.rows))
        if self.criterion.metric == "exploitability" and any("average" in text for text in self.caveats.values()):
            sentences.append("For some methods only the average converges: see --metric average_exploitability.")
        return sentences

    @cached_property
    def robustness(self) -> pd.DataFrame:
        """The mean rank of each method at other targets and horizons."""
        return robustness.mean_ranks(self.focused.study.rows, self.criterion)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The first row of every run that has rows."""
        return self.study.rows.drop_duplicates("folder")

    @cached_property
    def caveats(self) -> dict[str, str]:
        """Method -> where it converges, for methods that do not converge to the equilibrium."""
        method = dict(zip(self.runs["folder"], self.runs["method"], strict=True))
        pairs = ((run["folder"], (run["summary"].get("method") or {}).get("caveat")) for run in self.study.runs)
        return {method[folder]: caveat for folder, caveat in pairs if caveat and folder in method}


def _pairs(table: pd.DataFrame, column: str) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[[column, "method"]])


def analyse(folder: str | PathLike[str], criterion: Criterion) -> Results:
    """Load a folder of runs and summarise its observations.

    Raises: AnalysisError.
    """
    study = load_study(folder)
    if "beta" not in study.rows:  # no run has a config
        study = replace(study, rows=study.rows.assign(beta=float("nan")))
    criterion = criterion.for_data(study.rows)
    observed = observations(study.rows, criterion)
    return Results(study, observed, summarise(observed), criterion)

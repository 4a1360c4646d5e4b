"""The pictures of a study: the figure of its preset, then all that its data allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from nlhf.analysis.figures import comparison, equal_kl, games, robustness, sensitivity
from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.figures.preset import BUDGET_SPENT, preset_of
from nlhf.analysis.figures.simplex import CAPTION, simplex
from nlhf.analysis.page import Picture
from nlhf.analysis.results import MOST_METHODS, Results
from nlhf.analysis.robustness import sentences
from nlhf.stats.text import number

MOST_GAMES = 6  # games of votes that get a picture each
OF_A_KEY = frozenset({"step_size", "rate"})  # these show every configuration


def pictures(results: Results) -> Iterator[Picture]:
    """Yield one picture at a time, so that a figure can be saved and released."""
    drawn = frozenset[str]()
    name, preset = results.study.experiment, preset_of(results.study.experiment)
    if name is not None and preset is not None:
        figure = preset.draw(results)
        if figure is not None:
            drawn = preset.same_as
            sentences = _vote_sentences(results) if "preferences" in preset.same_as else []
            yield Picture(name, figure, "\n".join([preset.caption, *sentences]))
    for kind, make in KINDS.items():
        if kind not in drawn:
            yield from make(results if kind in OF_A_KEY else results.focused)


def _convergence(results: Results) -> Iterator[Picture]:
    criterion, data, caveats = results.criterion, results.study.rows, results.caveats
    start = f"{_capitalised(criterion.title)} against"
    yield Picture("convergence", convergence(data, criterion, caveats), f"{start} {criterion.cost}. {LINES}")
    for metric in ("kl_to_equilibrium", "average_exploitability"):
        relevant = metric == "kl_to_equilibrium" or (data["beta"] == 0).any()
        if relevant and metric != criterion.metric and data[metric].notna().any():
            second = replace(criterion, metric=metric)
            dashed = "; the theorem's bound is dashed" if metric == "kl_to_equilibrium" else ""
            caption = f"{_capitalised(second.title)} against {criterion.cost}; lines as above{dashed}."
            yield Picture(metric, convergence(data, second, caveats), caption)
    if criterion.x != "seconds":
        timed = replace(criterion, x="seconds")
        yield Picture("seconds", convergence(data, timed, caveats), f"{start} training time. {CLOCK}")


def _equal_kl(results: Results) -> Iterator[Picture]:
    if not results.at_equal_kl.empty:
        figure = equal_kl.win_rate_over_kl(results.text_curves, results.focused.study.rows, results.caveats)
        yield Picture("equal_kl", figure, equal_kl.CAPTION)


def _heatmap(results: Results) -> Iterator[Picture]:
    if results.summary["group"].nunique() > 1 and results.summary["method"].nunique() > 1:
        criterion = results.criterion
        goal = f"{criterion.title} is at most {number(criterion.target)}"
        caption = f"Median {criterion.cost} until the {goal}. A dash: {BUDGET_SPENT.partition(': ')[2]}"
        yield Picture("heatmap", comparison.heatmap(results.summary, criterion, results.caveats), caption)


def _profile(results: Results) -> Iterator[Picture]:
    observed = results.observations
    compared = observed.groupby("setting")["method"].nunique().min() > 1 and len(observed) > 10
    if compared and observed["reached"].any() and observed["method"].nunique() <= MOST_METHODS:
        figure = comparison.performance_profile(observed, results.criterion, results.caveats)
        yield Picture("profile", figure, PROFILE)


def _robustness(results: Results) -> Iterator[Picture]:
    table = results.robustness
    if table["method"].nunique() > 1:
        figure = robustness.mean_ranks(table, results.observations, results.criterion, results.caveats)
        yield Picture("robustness", figure, "\n".join([ROBUSTNESS, *sentences(table)]))


def _against(key: str, quantity: str, name: str, caption: str) -> Callable[[Results], Iterator[Picture]]:
    def make(results: Results) -> Iterator[Picture]:
        data = results.study.rows
        if key not in data or pd.to_numeric(data[key], errors="coerce").nunique() < 3:
            return
        table = sensitivity.by_key(results.observations, data, key)
        if quantity == "rate" and table["rate"].isna().all():
            return
        figure = sensitivity.against(table, key, quantity, results.criterion, results.caveats)
        yield Picture(name, figure, caption)

    return make


def _simplex(results: Results) -> Iterator[Picture]:
    figure = simplex(results.runs, results.caveats)
    if figure is not None:
        yield Picture("simplex", figure, CAPTION)


def _votes(results: Results) -> Iterator[Picture]:
    runs = first_runs(results.runs)
    for count, (title, run) in enumerate(list(runs.items())[:MOST_GAMES], 1):
        figure = games.preference_matrix(run, title)
        if figure is not None:
            name = f"preferences-{count}" if len(runs) > 1 else "preferences"
            caption = f"Sorted by decreasing Bradley-Terry score. {games.cycle_sentence(run, title)}"
            yield Picture(name, figure, caption)


def _vote_sentences(results: Results) -> list[str]:
    runs = list(first_runs(results.runs).items())[:MOST_GAMES]
    return [games.cycle_sentence(run, title) for title, run in runs]


def _mixtures(results: Results) -> Iterator[Picture]:
    figure = games.mixtures(dict(list(first_runs(results.runs).items())[:MOST_GAMES]))
    if figure is not None:
        caption = "The equilibrium and the reference policy: first seed, mean over contexts."
        yield Picture("mixtures", figure, caption)


def first_runs(runs: pd.DataFrame) -> dict[str, Path]:
    """A run of every setting with few or named items: games of votes or matrices, or few actions."""
    by_setting: dict[str, Path] = {}
    for setting, folder in runs.sort_values("setting")[["setting", "folder"]].to_numpy():
        if setting in by_setting:
            continue
        game = games.matrix_of(Path(folder))
        if game is not None and ("votes" in game or len(game["items"]) <= 12):
            by_setting[setting] = Path(folder)
    return by_setting


def _capitalised(title: str) -> str:
    return title[0].upper() + title[1:]


LINES = (
    "Lines are medians over seeds, bands their 95% intervals (from five seeds on); unfinished and failed runs are pale."
)
CLOCK = "The clock stops during measurements; all seeds of a run are trained as one batch."
PROFILE = (
    "Performance profile (Dolan and Moré 2002): the share of settings × seeds that a method solves within a factor of "
    "the best one there. At factor 1, how often it is the best; at the right, how often it succeeds."
)
ROBUSTNESS = (
    "Does the order depend on the target and on the horizon? The mean rank of each method over all settings (1 is the "
    "best, at the top), with other targets and with other horizons; dotted, those of the table."
)
STEPS = f"Cost to the target against the step size lambda. {BUDGET_SPENT}"
RATES = (
    "The linear rate fitted to the tail, against beta; dashed, the rate that the theorem promises for KL(pi* || pi). A "
    "method without a linear tail has no point."
)
KINDS: dict[str, Callable[[Results], Iterator[Picture]]] = {
    "equal_kl": _equal_kl,
    "convergence": _convergence,
    "heatmap": _heatmap,
    "profile": _profile,
    "robustness": _robustness,
    "step_size": _against("algorithm.step_size", "cost", "step_size", STEPS),
    "rate": _against("beta", "rate", "rate", RATES),
    "simplex": _simplex,
    "preferences": _votes,
    "mixtures": _mixtures,
}

"""Which pictures a study has: its preset's own, then all that its data allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from nlhf.analysis.figures import comparison, games, simplex
from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.figures.experiments import EXPERIMENTS
from nlhf.analysis.page import Picture
from nlhf.analysis.results import MOST_METHODS, Material
from nlhf.stats.text import number

MOST_GAMES = 6  # votes games that are drawn one by one
OF_A_KEY = frozenset({"step_size", "rate"})  # these show every configuration


def pictures(material: Material) -> Iterator[Picture]:
    """One after the other, so that a figure can be saved and forgotten."""
    drawn = frozenset[str]()
    preset = material.study.experiment
    if preset in EXPERIMENTS:
        own = EXPERIMENTS[preset]
        figure = own.draw(material)
        if figure is not None:
            drawn = own.same_as
            said = _said(material) if "preferences" in own.same_as else []
            yield Picture(preset, figure, "\n".join([own.caption, *said]))
    for kind, make in KINDS.items():
        if kind not in drawn:
            yield from make(material if kind in OF_A_KEY else material.focused)


def _convergence(material: Material) -> Iterator[Picture]:
    view, data = material.view, material.study.rows
    yield Picture("convergence", convergence(data, view, material.caveats),
                  f"{_start(view.title)} against {view.cost}. {LINES}")  # fmt: skip
    for metric in ("kl_to_equilibrium", "average_exploitability"):
        wanted = metric == "kl_to_equilibrium" or (data["beta"] == 0).any()
        if wanted and metric != view.metric and data[metric].notna().any():
            other = replace(view, metric=metric)
            dashed = "; dashed is what the theorem promises" if metric == "kl_to_equilibrium" else ""
            caption = f"{_start(other.title)} against {view.cost}; lines as above{dashed}."
            yield Picture(metric, convergence(data, other, material.caveats), caption)
    if view.x != "seconds":
        timed = replace(view, x="seconds")
        caption = f"{_start(view.title)} against training time, the clock stopped while measuring; {BATCH}"
        yield Picture("seconds", convergence(data, timed, material.caveats), caption)


def _heatmap(material: Material) -> Iterator[Picture]:
    if material.summary["group"].nunique() > 1 and material.summary["method"].nunique() > 1:
        view = material.view
        caption = (f"Median {view.cost} until the {view.title} is at most {number(view.target)}; a dash: half or more "
                   "of the seeds spend their budget without it.")  # fmt: skip
        yield Picture("heatmap", comparison.heatmap(material.summary, view, material.caveats), caption)


def _profile(material: Material) -> Iterator[Picture]:
    units = material.units
    compared = units.groupby("setting")["method"].nunique().min() > 1 and len(units) > 10
    if compared and units["reached"].any() and units["method"].nunique() <= MOST_METHODS:
        yield Picture("profile", comparison.performance_profile(units, material.view, material.caveats), PROFILE)


def _against(key: str, quantity: str, name: str, caption: str) -> Callable[[Material], Iterator[Picture]]:
    def make(material: Material) -> Iterator[Picture]:
        data = material.study.rows
        if key not in data or pd.to_numeric(data[key], errors="coerce").nunique() < 3:
            return
        table = comparison.by_key(material.units, data, key)
        if quantity == "rate" and table["rate"].isna().all():
            return
        yield Picture(name, comparison.against(table, key, quantity, material.view, material.caveats), caption)

    return make


def _simplex(material: Material) -> Iterator[Picture]:
    figure = simplex.simplex(material.runs, material.caveats)
    if figure is not None:
        yield Picture("simplex", figure, SIMPLEX)


def _votes(material: Material) -> Iterator[Picture]:
    runs = first_runs(material.runs)
    for place, (title, run) in enumerate(list(runs.items())[:MOST_GAMES]):
        figure = games.preference_matrix(run, title)
        if figure is not None:
            name = f"preferences-{place + 1}" if len(runs) > 1 else "preferences"
            yield Picture(name, figure, f"By falling Bradley-Terry score. {games.what_votes_say(run, title)}")


def _said(material: Material) -> list[str]:
    return [games.what_votes_say(run, title) for title, run in list(first_runs(material.runs).items())[:MOST_GAMES]]


def _mixtures(material: Material) -> Iterator[Picture]:
    figure = games.mixtures(dict(list(first_runs(material.runs).items())[:MOST_GAMES]))
    if figure is not None:
        caption = "The equilibrium against the reference policy: first seed, mean over contexts."
        yield Picture("mixtures", figure, caption)


def first_runs(runs: pd.DataFrame) -> dict[str, Path]:
    """A run of every setting whose items are worth naming: games of votes or matrices, or of few actions."""
    found: dict[str, Path] = {}
    for setting, folder in runs.sort_values("setting")[["setting", "folder"]].to_numpy():
        if setting in found:
            continue
        game = games.matrix_of(Path(folder))
        if game is not None and ("votes" in game or len(game["items"]) <= 12):
            found[setting] = Path(folder)
    return found


def _start(words: str) -> str:
    return words[0].upper() + words[1:]


LINES = ("Lines are medians over seeds, bands their 95% bootstrap intervals (from five seeds on); "
         "unfinished and failed runs are pale.")  # fmt: skip
BATCH = "all seeds of a run are trained as one batch."
PROFILE = (
    "Performance profile (Dolan and Moré 2002): the share of settings × seeds that a method solves within a "
    "factor of the best one there; at factor 1 how often it is best, at the right how often it succeeds."
)
SIMPLEX = ("Policies on the simplex, over level sets of the exploitability (darker is more exploitable); dots are the "
           "recorded rows, about ten per decade of iterations, so that fast cycles look like jumps.")  # fmt: skip
STEPS = (
    "How sensitive each algorithm is to its step size lambda; crosses: half or more of the seeds spend their budget."
)
RATES = ("The linear rate of the tail, fitted, against beta, beside what the theorem promises for KL(pi* || pi), "
         "dashed; a method without a linear tail has no point.")  # fmt: skip
KINDS: dict[str, Callable[[Material], Iterator[Picture]]] = {
    "convergence": _convergence,
    "heatmap": _heatmap,
    "profile": _profile,
    "step_size": _against("algorithm.step_size", "cost", "step_size", STEPS),
    "rate": _against("beta", "rate", "rate", RATES),
    "simplex": _simplex,
    "preferences": _votes,
    "mixtures": _mixtures,
}

"""What every preset of conf/experiment has: a question, a figure that answers it, and a caption."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlhf.analysis.figures import presets, sensitivity
from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.results import Results
from nlhf.analysis.tuning import tuned

Draw = Callable[[Results], Figure | None]
LINES = "Lines are medians over seeds, bands their 95% intervals."
BUDGET_SPENT = "Crosses: half or more of the seeds spend their budget without reaching the target."


@dataclass(frozen=True)
class Preset:
    """A preset's question, figure and caption.

    Args:
        draw: returns None if the study lacks the data of the figure.
        same_as: pictures of the gallery that would show the same.
    """

    question: str
    draw: Draw
    caption: str
    same_as: frozenset[str] = frozenset()


def preset_names() -> list[str]:
    """The names of all presets that have a figure."""
    return [module.name for module in pkgutil.iter_modules(presets.__path__)]


def preset_of(name: str | None) -> Preset | None:
    """The preset of this name, or None if it has no figure."""
    if name not in preset_names():
        return None
    preset: Preset = import_module(f"{presets.__name__}.{name}").PRESET
    return preset


def against_key(key: str, quantity: str) -> Draw:
    """A function that draws a quantity of the observations against a config key."""

    def figure(results: Results) -> Figure | None:
        table = sensitivity.by_key(results.observations, results.study.rows, key)
        if table[key].isna().all():
            return None
        return sensitivity.against(table, key, quantity, results.criterion, results.caveats)

    return figure


def curves(results: Results) -> Figure:
    """The curves of all methods, a panel per setting."""
    return convergence(results.study.rows, results.criterion, results.caveats)


def curves_of_algorithms(x: str | None = None) -> Draw:
    """A function that draws the curves of all algorithms, whatever their options, a panel per setting.

    Args:
        x: the cost, one of COSTS; by default that of the criterion.
    """

    def figure(results: Results) -> Figure:
        rows, criterion = results.study.rows, results.criterion
        by_algorithm = rows.assign(method=rows["algorithm"])
        return convergence(by_algorithm, replace(criterion, x=x or criterion.x), caveats_of_algorithms(results))

    return figure


def tuned_methods(results: Results) -> tuple[pd.DataFrame, list[int]] | None:
    """The chosen configuration of every algorithm, and the tuning seeds; None without two seeds."""
    seeds = sorted(results.observations["seed"].unique())
    table = tuned(results.observations) if len(seeds) > 1 else pd.DataFrame()
    return None if table.empty else (table, seeds[: int(table["tuning_seeds"].iloc[0])])


def caveats_of_algorithms(results: Results) -> dict[str, str]:
    """The caveats of methods by the names of their algorithms."""
    return {name.partition(", ")[0]: caveat for name, caveat in results.caveats.items()}


def same_height(axes: list[Axes]) -> None:
    """Give all panels the same limits of y."""
    low, high = min(axis.get_ylim()[0] for axis in axes), max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)

"""Payoffs: what is played for margins, log-odds and majorities of the same preferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of
from nlhf.analysis.figures.games import MOST_ITEMS
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import COLOURS, style
from nlhf.analysis.results import Results

KEY = "game.payoff"


def draw(results: Results) -> Figure | None:
    """The equilibria of all payoffs as bars, a panel per game."""
    rows = results.study.rows
    if KEY not in rows:
        return None
    runs = rows.drop_duplicates(["game", KEY])
    panels = {str(name): mixtures for name, part in runs.groupby("game", sort=True) if (mixtures := _mixtures(part))}
    if not panels:
        return None
    payoffs = sorted({payoff for mixtures in panels.values() for payoff in mixtures})
    with style():
        items = [next(iter(mixtures.values())).index for mixtures in panels.values()]
        wide, _ = layout.extent([str(item) for names in items for item in names])
        size = max(2.6, 1.7 + 0.066 * wide), 0.3 * max(map(len, items)) + 0.8
        figure, axes = layout.panels(list(panels), size=size)
        for axis, mixtures in zip(axes, panels.values(), strict=False):
            _bars(axis, mixtures, payoffs)
        handles = {name: Rectangle((0, 0), 1, 1, color=colour) for name, colour in zip(payoffs, COLOURS, strict=False)}
        layout.below(figure, handles, {}, ())
    return figure


def _mixtures(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """The equilibrium of each payoff by item, of the first seed, a mean over contexts."""
    mixtures = {}
    for payoff, folder in zip(runs[KEY], runs["folder"], strict=True):
        game = game_of(Path(folder)) or {}
        if "log_equilibrium" in game and len(game["items"]) <= MOST_ITEMS:
            mixtures[str(payoff)] = pd.Series(np.exp(game["log_equilibrium"][0]).mean(0), game["items"])
    return mixtures


def _bars(axis: Axes, mixtures: dict[str, pd.Series], payoffs: list[str]) -> None:
    first = mixtures[min(mixtures)]
    order = first.sort_values(kind="stable").index
    rows, height = np.arange(len(order)), 0.8 / len(payoffs)
    for number, payoff in enumerate(payoffs):
        if payoff in mixtures:
            middle = rows + height * ((len(payoffs) - 1) / 2 - number)
            axis.barh(middle, mixtures[payoff][order], height, color=COLOURS[number])
    axis.set_yticks(rows, [layout.wrapped(str(item), 24) for item in order])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("probability")
    sns.despine(ax=axis, left=True)


PRESET = Preset(
    "What is played for margins, log-odds or majorities of the same votes?",
    draw,
    "Equilibria of games of human votes: linear plays for P, logit for the log-odds of P, sign for majorities. Payoffs "
    "have units of their own, so the same beta is a stronger pull to the reference where payoffs are smaller.",
    frozenset({"mixtures"}),
)

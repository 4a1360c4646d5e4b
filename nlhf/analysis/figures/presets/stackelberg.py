"""Stackelberg: what leaders and the Nash equilibrium play, against beta."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import COLOURS, MARKERS, Look, handle, style
from nlhf.analysis.results import Results
from nlhf.equilibria.arrays import equilibrium

PANELS = ("Stackelberg leader", "Nash equilibrium")


def draw(results: Results) -> Figure | None:
    """Two panels, the solution of the runs and the Nash equilibrium of the same game, a curve for each item."""
    runs = results.study.rows.drop_duplicates("beta").sort_values("beta")
    games = [(beta, game_of(Path(folder)) or {}) for beta, folder in zip(runs["beta"], runs["folder"], strict=True)]
    games = [(beta, game) for beta, game in games if {"log_equilibrium", "preference", "items"} <= game.keys()]
    if len(games) < 2 or len(games[0][1]["items"]) > len(COLOURS):
        return None
    betas = [beta for beta, _ in games]
    tables = [np.array([np.exp(game["log_equilibrium"][0, 0]) for _, game in games]),
              np.array([_nash(game, beta) for beta, game in games])]  # fmt: skip
    items = [str(item) for item in games[0][1]["items"]]
    looks = {item: Look(COLOURS[number], MARKERS[number]) for number, item in enumerate(items)}
    with style():
        figure, axes = layout.panels(list(PANELS))
        for axis, table in zip(axes, tables, strict=False):
            _curves(axis, betas, table, list(looks.values()))
        layout.below(figure, {item: handle(look) for item, look in looks.items()}, {}, ())
    return figure


def _nash(game: dict[str, Any], beta: float) -> np.ndarray:
    """The Nash equilibrium of the first instance and context, (n)."""
    reference = np.exp(game["log_reference"][0, 0])
    return np.asarray(np.exp(equilibrium(game["preference"][0, 0], beta, reference).log_policy))


def _curves(axis: Axes, betas: list[float], shares: np.ndarray, looks: list[Look]) -> None:
    for look, share in zip(looks, shares.T, strict=True):
        axis.plot(betas, share, color=look.colour, marker=look.marker, markersize=4)
    axis.set(xscale="log", xlabel="beta", ylabel="probability", ylim=(-0.03, 1.03))


PRESET = Preset(
    "What does a leader play whose answers others may improve?",
    draw,
    "Shares of the items in the Stackelberg solution, and in the Nash equilibrium of the same game, against beta. As "
    "beta falls, the leader plays the item whose worst defeat is the smallest, although every item of the cycle beats "
    "it.",
)

"""Figures of one game, from a run's game.npz: its preferences and its equilibrium."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of
from nlhf.analysis.figures.style import COLOURS, style
from nlhf.stats.cyclic import Diagnosis, diagnose
from nlhf.stats.vote_clusters import Clusters

MOST_ITEMS = 40
CYCLE = "#d55e00"


def preference_matrix(run: Path, title: str) -> Figure | None:
    """`matrix` of a run's first context; None if game.npz has no P or too many items."""
    game = matrix_of(run)
    if game is None:
        return None
    return matrix(
        [str(item) for item in game["items"]], game["preference"][0, 0], diagnosis(game), title + of_context(game)
    )


def matrix(items: list[str], preference: np.ndarray, cycles: Diagnosis, title: str) -> Figure:
    """P(row preferred to column), sorted by Bradley-Terry score; majorities of a cyclic triple are framed."""
    with style():
        width, lines = layout.extent([layout.wrapped(item, 30) for item in items])
        size = max(max(0.36, 0.16 * lines) * len(items), 1.8)
        title = layout.wrapped(title)
        height = size + 0.05 * width + 0.1 * (lines - 1) + 0.15 * title.count("\n") + 0.8
        figure = Figure(figsize=(max(size + 0.066 * width + 1.4, 4.2), height), layout="constrained")
        axis = figure.subplots()
        image = _drawn(axis, items, preference, cycles)
        figure.colorbar(image, label="P(row preferred to column)", aspect=25, pad=0.02)
        axis.set_title(title)
    return figure


def matrix_of(run: Path) -> dict[str, np.ndarray] | None:
    """The content of a run's game.npz; None if it has no P or too many items."""
    game = game_of(run) or {}
    return game if "preference" in game and len(game["items"]) <= MOST_ITEMS else None


def of_context(game: dict[str, np.ndarray]) -> str:
    """The name of the first context, if there are several."""
    return f", context {game['contexts'][0]}" if len(game["contexts"]) > 1 else ""


def diagnosis(game: dict[str, np.ndarray]) -> Diagnosis:
    """The cycles of the first context of the first instance."""
    clusters = Clusters(str(game["cluster"]), *game["clusters"]) if "clusters" in game else None
    return diagnose(game["preference"][0, 0], game["votes"][:, 0] if "votes" in game else None, clusters)


def draw_matrix(axis: Axes, game: dict[str, np.ndarray]) -> AxesImage:
    """Draw the matrix of a run's game with its numbers and frames."""
    return _drawn(axis, [str(item) for item in game["items"]], game["preference"][0, 0], diagnosis(game))


def _drawn(axis: Axes, items: list[str], preference: np.ndarray, cycles: Diagnosis) -> AxesImage:
    order = np.argsort(-cycles.scores, kind="stable")
    image = axis.imshow(preference[np.ix_(order, order)], cmap="RdBu", vmin=0, vmax=1)
    if len(order) <= 12:
        _numbers(axis, preference[np.ix_(order, order)])
    _frames(axis, cycles, order)
    names = [layout.wrapped(items[k], 30) for k in order]
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def cycle_sentence(run: Path, title: str) -> str:
    """The sentence about the cycles in a picture of `preference_matrix`."""
    game = matrix_of(run)
    if game is None:
        return ""
    cycles = diagnosis(game)
    return f"{title}{of_context(game)}: {cycles.sentence}{_named(cycles, [str(item) for item in game['items']])}"


def _numbers(axis: Axes, preference: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(preference):
        if row != column:
            colour = "white" if abs(value - 0.5) > 0.3 else "black"
            axis.text(column, row, f"{value:.2f}".removeprefix("0"), ha="center", va="center", fontsize=7, color=colour)


def _frames(axis: Axes, cycles: Diagnosis, order: np.ndarray) -> None:
    """Frame every majority that is part of a cyclic triple."""
    position = np.argsort(order)
    edges = {(a, b) for i, j, k in cycles.triples for a, b in ((i, j), (j, k), (k, i))}
    for a, b in edges:
        corner = position[b] - 0.5 + 0.06, position[a] - 0.5 + 0.06
        axis.add_patch(Rectangle(corner, 0.88, 0.88, fill=False, ec=CYCLE, lw=1.6))


def _named(cycles: Diagnosis, items: list[str]) -> str:
    names = [" ≻ ".join(items[k] for k in (*triple, triple[0])) for triple in cycles.triples[:3]]
    further = f", and {len(cycles.triples) - 3} more" if len(cycles.triples) > 3 else ""
    return f" Framed: {'; '.join(names)}{further}." if names else ""


def mixtures(runs: dict[str, Path]) -> Figure | None:
    """Equilibrium and reference as bars, a panel per game; first seed, mean over contexts.

    None if no game has an equilibrium and at most MOST_ITEMS items.
    """
    games = {
        title: game
        for title, run in runs.items()
        if {"log_equilibrium", "log_reference"} <= (game := game_of(run) or {}).keys()
        and len(game["items"]) <= MOST_ITEMS
    }
    if not games:
        return None
    with style():
        most = max(len(game["items"]) for game in games.values())
        wide, high = layout.extent([layout.wrapped(str(item), 24) for game in games.values() for item in game["items"]])
        size = max(3.1, 1.7 + 0.066 * wide), max(0.21, 0.14 * high) * most + 1.2
        figure, axes = layout.panels(list(games), across=3, size=size)
        for axis, game in zip(axes, games.values(), strict=False):
            _bars(axis, game)
        handles = {
            name: Rectangle((0, 0), 1, 1, color=colour)
            for name, colour in (("reference", "0.75"), ("equilibrium", COLOURS[0]))
        }
        layout.below(figure, handles, {}, ())
    return figure


def _bars(axis: Axes, game: dict[str, np.ndarray]) -> None:
    reference, equilibrium = (np.exp(game[name][0]).mean(0) for name in ("log_reference", "log_equilibrium"))
    order = np.argsort(equilibrium, kind="stable")
    rows = np.arange(len(order))
    axis.barh(rows + 0.2, equilibrium[order], 0.4, color=COLOURS[0])
    axis.barh(rows - 0.2, reference[order], 0.4, color="0.75")
    axis.set_yticks(rows, [layout.wrapped(str(game["items"][k]), 24) for k in order])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("probability")
    sns.despine(ax=axis, left=True)

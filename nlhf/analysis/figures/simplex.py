"""Paths of policies over three actions on the simplex, over level sets of the exploitability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.tri import Triangulation

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of, policies_of
from nlhf.analysis.figures.style import INK, Look, looks_of, marked, style

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
RESOLUTION = 160
REGULARISER, REVERSE = "regulariser._target_", "nlhf.regularisers.reverse_kl.ReverseKL"
CAPTION = (
    "Policies on the simplex, over level sets of the exploitability (darker is more exploitable). Dots are the "
    "recorded rows, about ten per decade of iterations, so fast cycles look like jumps."
)


def simplex(runs: pd.DataFrame, caveats: dict[str, str] | None = None) -> Figure | None:
    """The path of the first seed: a panel per run with three actions, one context and a policies.csv.

    Args:
        runs: a row per run with the columns `folder`, `setting`, `method`, `algorithm`, `beta`; those without a
            known beta, and those with another regulariser than the reverse KL, are left out.

    Returns: None if there is no such run.
    """
    caveats = caveats or {}
    reverse = runs[REGULARISER].fillna(REVERSE) == REVERSE if REGULARISER in runs else True
    folders = runs.loc[runs["beta"].notna() & reverse, "folder"]
    games = {folder: game for folder in folders if (game := _game(Path(folder))) is not None}
    panels = runs[runs["folder"].isin(list(games))].sort_values(["setting", "method"]).to_dict("records")
    if not panels:
        return None
    looks, names = looks_of(runs), marked(runs["method"], caveats)
    several = len({row["setting"] for row in panels}) > 1
    titles = [f"{names[row['method']]}, {row['setting']}" if several else names[row["method"]] for row in panels]
    with style():
        figure, axes = layout.panels(titles, across=4, size=(2.5, 2.45))
        for axis, row in zip(axes, panels, strict=False):
            _panel(axis, games[row["folder"]], float(row["beta"]), looks[row["method"]])
        layout.below(
            figure,
            {
                "reference": Line2D([], [], marker="o", mfc="white", mec=INK, ls="", ms=5),
                "equilibrium": Line2D([], [], marker="*", color=INK, ls="", ms=9),
                "last policy": Line2D([], [], marker="s", color="0.45", ls="", ms=5),
            },
            caveats,
            [row["method"] for row in panels],
        )
    return figure


def exploitability(policies: np.ndarray, preference: np.ndarray, reference: np.ndarray, beta: float) -> np.ndarray:
    """max_mu P_beta(mu > pi) - 1/2 of policies (..., n), to plotting accuracy; P (n, n), reference (n).

    beta > 0: beta log sum ref exp(A pi/beta) + beta KL(pi || ref), as pi A pi = 0; beta = 0: max A pi.
    """
    answer = policies @ ((preference - preference.T) / 2).T
    if beta == 0:
        return np.asarray(answer.max(-1))
    largest = answer.max(-1, keepdims=True)
    soft = largest[..., 0] + beta * np.log((reference * np.exp((answer - largest) / beta)).sum(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(policies > 0, policies * np.log(policies / reference), 0.0).sum(-1)
    return np.asarray(soft + beta * kl)


def _game(run: Path) -> dict[str, np.ndarray] | None:
    """The game and `path`, the policies (T, 3) of the first seed; None unless it has three actions."""
    rows, game = policies_of(run), game_of(run)
    if rows is None or game is None or not {"preference", "log_reference"} <= game.keys():
        return None
    if game["preference"].shape[1:] != (1, 3, 3):
        return None
    first = [row for row in rows if row["seed"] == rows[0]["seed"]]
    path = [[float(row["log_probability"]) for row in first[k : k + 3]] for k in range(0, len(first) - 2, 3)]
    return game | {"path": np.exp(path)} if path else None


def _panel(axis: Axes, game: dict[str, np.ndarray], beta: float, look: Look) -> None:
    reference = np.exp(game["log_reference"][0, 0])
    played = game["payoff"][0, 0] + 0.5 if "payoff" in game else game["preference"][0, 0]
    _level_sets(axis, played, reference, beta)
    axis.plot(*CORNERS[[0, 1, 2, 0]].T, color=INK, lw=0.8)
    path = game["path"] @ CORNERS
    axis.plot(*path.T, color=look.colour, lw=1, marker=".", ms=3.5, alpha=0.9)
    axis.plot(*(reference @ CORNERS), marker="o", mfc="white", mec=INK, ms=5)
    axis.plot(*path[-1], marker="s", color=look.colour, ms=5, mec="white", mew=0.6)
    if "log_equilibrium" in game:
        axis.plot(
            *(np.exp(game["log_equilibrium"][0, 0]) @ CORNERS),
            marker="*",
            color=INK,
            ms=9,
            mec="white",
            mew=0.6,
            ls="",
        )
    names = [layout.wrapped(str(item), 16) for item in game["items"]]
    for corner, name, dy, va in zip(CORNERS, names, (-0.04, -0.04, 0.03), ("top", "top", "bottom"), strict=True):
        axis.text(corner[0], corner[1] + dy, name, ha="center", va=va, fontsize=8)
    below, above = (0.17 * max(name.count("\n") for name in part) for part in (names[:2], names[2:]))
    axis.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.12 - below, 0.97 + above))
    axis.axis("off")


def _level_sets(axis: Axes, preference: np.ndarray, reference: np.ndarray, beta: float) -> None:
    """Logarithmic level sets over a triangular grid."""
    i, j = np.meshgrid(np.arange(RESOLUTION + 1), np.arange(RESOLUTION + 1))
    inside = i + j <= RESOLUTION
    grid = np.stack([i[inside], j[inside], RESOLUTION - i[inside] - j[inside]], axis=-1) / RESOLUTION
    values = np.maximum(exploitability(grid, preference, reference, beta), 1e-6)
    levels = np.geomspace(max(values.min(), values.max() * 1e-3), values.max(), 9)
    mesh = Triangulation(*(grid @ CORNERS).T)
    axis.tricontourf(
        mesh, values, levels=[0, *levels[1:]], cmap="Greys", norm=LogNorm(levels[0], 1e5 * levels[-1]), extend="max"
    )
    axis.tricontour(mesh, values, levels=levels[1:-1], colors="white", linewidths=0.5)

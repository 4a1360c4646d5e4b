"""How far alpha moves the fixed points of XPO and ENPO, and how short it makes the first step of ENPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import optimize

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of, policies_of
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import Look, handle, looks_of, style
from nlhf.analysis.results import Results
from nlhf.io.arrays import read_arrays
from nlhf.stats.medians import median_interval

KEY, METRIC, SMALLEST = "prox.alpha", "kl_to_equilibrium", 1e-17  # below is rounding
EXPECTED: dict[str, Any] = {"color": "0.2", "ls": "--", "lw": 0.9}
BIAS: dict[str, Any] = {"color": "0.5", "ls": ":", "lw": 1.2}
ByAlpha = dict[float, np.ndarray]  # a value of every seed, by alpha


def draw(results: Results) -> Figure | None:
    """A panel per game with the divergence from the fixed point at alpha = 0, and one with ENPO's first step."""
    rows = results.study.rows
    if KEY not in rows or rows[METRIC].isna().all():
        return None
    rows = rows.assign(method=rows["algorithm"], alpha=pd.to_numeric(rows[KEY]))
    looks, games = looks_of(rows), {str(game): part for game, part in rows.groupby("game", sort=True)}
    steps = first_steps(rows[rows["algorithm"] == "enpo"])
    with style():
        figure, axes = layout.panels([*games, "first step of enpo"], size=(3.1, 2.7))
        for axis, part in zip(axes, games.values(), strict=False):
            for name, runs in part.groupby("algorithm"):
                points = {alpha: _final(same) for alpha, same in by_alpha(runs).items()}
                _line(axis, _divergences(points), looks[str(name)])
            _expect(axis, part[part["algorithm"] == "xpo"])
            axis.set(yscale="log", ylabel="KL from the point at alpha = 0")
        if steps:
            _line(axes[-1], steps, looks["enpo"])
        alphas = np.geomspace(0.002, 5, 50)
        axes[-1].plot(alphas, 1 / (1 + alphas / 4), **EXPECTED)
        axes[-1].set(ylabel="length / length at alpha = 0", ylim=(0, 1.05))
        for axis in axes:
            axis.set(xscale="log", xlabel="alpha", xlim=(0.002, 6))
        entries = {name: handle(look) for name, look in looks.items()}
        entries |= {"expected": Line2D([], [], **EXPECTED), "from the equilibrium (xpo)": Line2D([], [], **BIAS)}
        layout.below(figure, entries, {}, ())
    return figure


def by_alpha(rows: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """The rows of each alpha, in increasing order."""
    return {float(str(alpha)): same for alpha, same in rows.groupby("alpha", sort=True)}


def _line(axis: Axes, values: ByAlpha, look: Look) -> None:
    """Medians with their 95% intervals, against alpha; values below rounding are drawn there."""
    table = [np.maximum(value, SMALLEST) for alpha, value in values.items() if alpha > 0]
    if not table:
        return
    alphas = [alpha for alpha in values if alpha > 0]
    axis.plot(alphas, [np.median(value) for value in table], color=look.colour, marker=look.marker, ms=4, lw=1.3)
    intervals = np.transpose([median_interval(value) for value in table])
    axis.fill_between(alphas, *intervals, color=look.colour, alpha=0.2, lw=0)


def _expect(axis: Axes, rows: pd.DataFrame) -> None:
    """The line that the numerical minimisers of XPO predict, and the divergence of the equilibrium from its points."""
    minimisers = expected_points(rows)
    line = {alpha: np.median(values) for alpha, values in _divergences(minimisers).items() if alpha > 0}
    axis.plot(list(line), list(line.values()), **EXPECTED)
    last = rows.sort_values("iteration").groupby(["folder", "seed"]).tail(1)
    bias = last.groupby("alpha")[METRIC].median()
    axis.plot(bias[bias.index > 0], **BIAS)


def _divergences(points: dict[float, np.ndarray]) -> ByAlpha:
    """KL(pi at alpha = 0, pi at alpha) of log-probabilities (S, n), by alpha; infinite where there is no point."""
    if 0.0 not in points:
        return {}
    start = points[0.0]
    divergences = {alpha: (np.exp(start) * (start - point)).sum(-1) for alpha, point in points.items()}
    return {alpha: np.nan_to_num(values, nan=np.inf) for alpha, values in divergences.items()}


def _final(rows: pd.DataFrame) -> np.ndarray:
    """The log-probabilities at the end of a run, (S, n)."""
    saved = read_arrays(Path(str(rows["folder"].iloc[0])) / "policy.npz") or {}
    return np.asarray(saved["log_policy"][:, 0]) if "log_policy" in saved else np.full((1, 1), np.nan)


def expected_points(rows: pd.DataFrame) -> dict[float, np.ndarray]:
    """Where the gradient of XPO vanishes, (S, n), by alpha; nan where it never does."""
    points = {}
    for alpha, runs in by_alpha(rows).items():
        game = game_of(Path(str(runs["folder"].iloc[0]))) or {}
        if {"preference", "log_reference"} <= game.keys():
            b = float(runs["beta"].iloc[0]) * float(runs["prox.beta_dpo"].iloc[0])
            tables = zip(game["preference"][:, 0], game["log_reference"][:, 0], strict=True)
            points[alpha] = np.array([minimiser_of_xpo(*table, alpha, b) for table in tables])
    return points


def minimiser_of_xpo(preference: np.ndarray, log_reference: np.ndarray, alpha: float, b: float) -> np.ndarray:
    """Log-probabilities (n) where the gradient of XPO's loss vanishes for pairs of this policy; nan if none are found.

    There are none where alpha exceeds b P(y > pi) for an action, whose probability then falls without end.
    """
    reference = np.exp(log_reference)

    def gradient(logits: np.ndarray) -> np.ndarray:
        log_policy = logits - np.logaddexp.reduce(logits)
        ratio = log_policy - log_reference
        fitted = 1 / (1 + np.exp(-b * (ratio[:, None] - ratio)))
        pull = np.exp(log_policy)[:, None] * reference * (fitted - preference)
        slope = b * (pull.sum(1) - pull.sum(0)) + alpha * reference
        return np.asarray(slope - np.exp(log_policy) * slope.sum() + logits.mean() / 1000)

    root = optimize.root(gradient, log_reference - log_reference.mean(), tol=1e-12)
    logits = np.asarray(root.x)
    if np.abs(gradient(logits)).max() > 1e-9:
        return np.full_like(logits, np.nan)
    return np.asarray(logits - np.logaddexp.reduce(logits))


def first_steps(rows: pd.DataFrame) -> ByAlpha:
    """Lengths of the first steps, as shares of those at alpha = 0, of all games and seeds, by alpha."""
    shares: dict[float, list[np.ndarray]] = {}
    for _, runs in rows.groupby("game"):
        lengths = {alpha: _lengths(Path(str(same["folder"].iloc[0]))) for alpha, same in by_alpha(runs).items()}
        whole = lengths.get(0.0)
        for alpha, length in lengths.items() if whole is not None else ():
            if length is not None:
                shares.setdefault(alpha, []).append(length / whole)
    return {alpha: np.concatenate(parts) for alpha, parts in sorted(shares.items())}


def _lengths(folder: Path) -> np.ndarray | None:
    """The standard deviation of log(pi_1/pi_0) under pi_0, of every seed."""
    table = pd.DataFrame(policies_of(folder) or [])
    if table.empty:
        return None
    table = table.astype({"seed": int, "iteration": int, "log_probability": float})
    wide = table.pivot_table("log_probability", ["seed", "action"], "iteration")
    if not {0, 1} <= set(wide):
        return None
    change, weight = wide[1] - wide[0], np.exp(wide[0])
    mean = (weight * change).groupby("seed").sum()
    return np.asarray(np.sqrt((weight * change**2).groupby("seed").sum() - mean**2))


PRESET = Preset(
    "Which of alpha's two meanings moves the fixed point?",
    draw,
    "Left: XPO's bonus moves the point where it rests by about the square of alpha in KL, as the numerical minimiser "
    "predicts (dashed); dotted, KL(pi*, pi) of XPO. ENPO's damping moves nothing (values below 1e-17 are drawn there). "
    "Right: it makes the first step shorter by 1/(1 + alpha/4), dashed, which holds for short steps. Lines are medians "
    "over seeds, bands their 95% intervals.",
)

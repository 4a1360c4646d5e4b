"""How often answers of a leader, and its follower's refinements of them, win against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import COLOURS, MARKERS, Look, handle, style
from nlhf.analysis.results import Results
from nlhf.io.json_files import read_json_lines
from nlhf.stats.clusters import clustered_mean

SERIES = {
    "refined": "the last refinement",
    "best_refined": "the best of the answer and its refinements",
    "best_sampled": "the best of as many answers of the leader",
}
LOOKS = {name: Look(COLOURS[number], MARKERS[number]) for number, name in enumerate(SERIES.values())}
APART = 0.06  # between the intervals of two series


def draw(results: Results) -> Figure | None:
    """Win rates against the number of answers, and the follower's against the leader, with intervals over prompts."""
    rates = _rates(results.study.runs)
    if not len(next(iter(rates.values()))):
        return None
    with style():
        figure, (answers, training) = layout.panels(["preferred to the reference", "the follower is preferred"])
        for number, (name, values) in enumerate(rates.items()):
            _series(answers, SERIES[name], values, APART * (number - 1))
        answers.axhline(0.5, color="0.45", ls=":", lw=1.0)
        answers.set(xlabel="answers", ylabel="win rate, test prompts", ylim=(0, 1))
        _refinements(training, results.study.rows, results.criterion.x)
        training.set(xlabel=results.criterion.cost, ylabel="to the answer that it sees", ylim=(0, 1))
        layout.below(figure, {name: handle(look) for name, look in LOOKS.items()}, {}, ())
    return figure


def _rates(runs: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Win rates of every series by prompt and number of answers, (X, N), as means over the runs."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in SERIES}
    for run in runs:
        entries = read_json_lines(Path(run["folder"]) / "completions.jsonl") if run["status"] == "completed" else []
        for name, parts in tables.items():
            by_prompt = {entry["prompt"]: entry[name] for entry in entries if isinstance(entry.get(name), list)}
            parts.append(pd.DataFrame.from_dict(by_prompt, orient="index", dtype=float))
    return {name: pd.concat(parts).groupby(level=0).mean().to_numpy() for name, parts in tables.items()}


def _series(axis: Axes, name: str, values: np.ndarray, shift: float) -> None:
    """A line of means with 95% intervals over prompts."""
    estimates = [clustered_mean(column, np.ones(len(column))) for column in values.T]
    middle = np.array([estimate.value for estimate in estimates])
    ends = np.array([[middle[k] - one.low, one.high - middle[k]] for k, one in enumerate(estimates)]).T
    x, look = np.arange(1, len(middle) + 1) + shift, LOOKS[name]
    axis.errorbar(x, middle, ends, color=look.colour, marker=look.marker, ms=4, lw=1.3, elinewidth=0.8)
    axis.set_xticks(range(1, len(middle) + 1))


def _refinements(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """P(follower's answer > leader's) of every run, with its interval."""
    for _, run in rows.groupby("folder"):
        axis.plot(run[cost], run["refinement_win_rate"], color=COLOURS[3], marker="v", ms=3.2, lw=1.3)
        axis.fill_between(run[cost], run["refinement_low"], run["refinement_high"], color=COLOURS[3], alpha=0.15, lw=0)
    axis.axhline(0.5, color="0.45", ls=":", lw=1.0)


PRESET = Preset(
    "Do refinements of an answer win more often than the answer, and than as many answers?",
    draw,
    "Left: the share of test prompts on which the judge prefers an answer to the reference's: the last of a chain in "
    "which the follower improves the answer before, the best answer of the chain, and the best of as many answers of "
    "the leader. The judge chooses the best one without the reference. Right: the follower's answer against the answer "
    "that it sees. Bars and bands are 95% intervals over prompts.",
)

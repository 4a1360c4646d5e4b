"""Every preset of conf/experiment has its own figure: the one that a person would publish of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.criterion import FLOOR
from nlhf.analysis.figures import base, comparison, games
from nlhf.analysis.figures.convergence import draw, finish
from nlhf.analysis.figures.simplex import simplex
from nlhf.analysis.results import Material
from nlhf.analysis.tuning import tuned
from nlhf.stats.text import number

Draw = Callable[[Material], Figure | None]


@dataclass(frozen=True)
class Experiment:
    """A preset's question, its figure, and which pictures of the gallery would show the same."""

    question: str
    draw: Draw
    caption: str
    same_as: frozenset[str] = frozenset()


def _sweep(key: str, quantity: str) -> Draw:
    def figure(material: Material) -> Figure | None:
        table = comparison.by_key(material.units, material.study.rows, key)
        if table[key].isna().all():
            return None
        return comparison.against(table, key, quantity, material.view, material.caveats)

    return figure


def _tuned(material: Material) -> tuple[pd.DataFrame, list[int]] | None:
    """The chosen configuration of every algorithm and the seeds that chose it; None where that cannot be had."""
    seeds = sorted(material.units["seed"].unique())
    table = tuned(material.units) if len(seeds) > 1 else pd.DataFrame()
    return None if table.empty else (table, seeds[: int(table["tuning_seeds"].iloc[0])])


def _of_algorithms(caveats: dict[str, str]) -> dict[str, str]:
    """Caveats of methods by the names of their algorithms."""
    return {name.partition(", ")[0]: caveat for name, caveat in caveats.items()}


def _same_height(axes: Sequence[Axes]) -> None:
    low, high = (f([axis.get_ylim()[k] for axis in axes]) for f, k in ((min, 0), (max, 1)))
    for axis in axes:
        axis.set_ylim(low, high)


def _noise(material: Material) -> Figure | None:
    """The floor against m, and a line that falls as 1/m."""
    figure = _sweep("prox.opponents", "final")(material)
    for axis in figure.axes if figure is not None else ():
        curves = [np.asarray(line.get_xydata(), float) for line in axis.lines]
        x, y = max((points for points in curves if len(points)), key=lambda points: float(points[0, 1])).T
        axis.plot(x, y[0] * x[0] / x, color="0.45", ls=":", lw=1.0)
        axis.text(0.97, 0.95, "dotted: 1/m", color="0.35", fontsize=8, ha="right", va="top", transform=axis.transAxes)
    return figure


def _neural(material: Material) -> Figure | None:
    """The chosen configuration of every algorithm on the seeds that did not choose it; train contexts, then test."""
    if (found := _tuned(material)) is None:
        return None
    table, tuning = found
    rows = material.study.rows
    rows = rows[rows["method"].isin(table["method"]) & ~rows["seed"].isin(tuning)]
    metrics = [name for name in (material.view.metric, f"test_{material.view.metric}") if name in rows]
    caveats = _of_algorithms(material.caveats)
    with base.style():
        figure, axes = base.panels([f"{'test' if name.startswith('test_') else 'train'} contexts" for name in metrics])
        looks = base.looks(rows.assign(method=rows["algorithm"]))
        for axis, metric in zip(axes, metrics, strict=False):
            for algorithm, runs in rows.groupby("algorithm"):
                draw(axis, runs, replace(material.view, metric=metric), looks[str(algorithm)], bound=False)
            finish(axis, material.view)
        _same_height(axes)
        names = base.marked(looks, caveats)
        chosen = {row["algorithm"]: row["method"].rpartition(" = ")[2] for row in table.to_dict("records")}
        entries = {f"{names[name]}, {chosen[name]}": base.handle(look) for name, look in looks.items()}
        base.below(figure, entries, caveats, looks)
    return figure


def _language_model(material: Material) -> Figure | None:
    """Win rate against the reference with its exact interval, and the divergence from it, against queries."""
    rows = material.study.rows
    if "test_win_rate_vs_reference" not in rows or rows["test_win_rate_vs_reference"].isna().all():
        return None
    with base.style():
        figure, axes = base.panels(["preferred to the reference", "KL to the reference"])
        looks = base.looks(rows)
        for method, runs in rows[rows[material.view.x] > 0].groupby("method"):
            look = looks[str(method)]
            for _, run in runs.groupby("folder"):
                error = 1.96 * run["kl_standard_error"]
                kl, wins = run["test_kl_to_reference"], run["test_win_rate_vs_reference"]
                for axis, middle, low, high in ((axes[0], wins, run["win_rate_low"], run["win_rate_high"]),
                                                (axes[1], kl, kl - error, kl + error)):  # fmt: skip
                    cost = run[material.view.x]
                    axis.plot(cost, middle, color=look.colour, marker=look.marker, ms=3.2, lw=1.3)
                    axis.fill_between(cost, low, high, color=look.colour, alpha=0.15, lw=0)
        axes[0].axhline(0.5, color="0.45", ls=":", lw=1.0)
        axes[0].set(xlabel=material.view.cost, ylabel="win rate, test prompts", ylim=(0, 1))
        axes[1].set(xlabel=material.view.cost, ylabel="nats")
        base.below(figure, {name: base.handle(look) for name, look in looks.items()}, material.caveats, looks)
    return figure


def _baselines(material: Material) -> Figure:
    return comparison.heatmap(material.summary, material.view, material.caveats)


def _action_space(material: Material) -> Figure | None:
    """A panel per algorithm, a curve per number of actions."""
    key = "game.actions"
    if key not in material.study.rows or material.study.rows[key].isna().all():
        return None
    with base.style():
        algorithms = dict(iter(material.study.rows.groupby("algorithm", sort=True)))
        figure, axes = base.panels(list(base.marked(algorithms, material.caveats).values()))
        sizes = sorted(material.study.rows[key].dropna().unique())
        shades = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes) + 1)[1:], strict=True))
        looks = {n: base.Look(shades[n], base.MARKERS[k % len(base.MARKERS)]) for k, n in enumerate(sizes)}
        for axis, rows in zip(axes, algorithms.values(), strict=False):
            for size, runs in rows.groupby(key):
                draw(axis, runs, material.view, looks[size], bound=False)
            finish(axis, material.view)
        _same_height(axes)
        entries = {f"{number(n)} actions": base.handle(look) for n, look in looks.items()}
        base.below(figure, entries, material.caveats, algorithms)
    return figure


def _human_votes(material: Material) -> Figure | None:
    """Preference matrices above, convergence below, a column per game."""
    settings = dict(iter(material.study.rows.groupby("setting", sort=True)))
    matrices = {name: games.matrix_of(Path(rows["folder"].iloc[0])) for name, rows in settings.items()}
    with base.style():
        figure = Figure(figsize=(base.PANEL[0] * len(settings), 2.15 * base.PANEL[1]), layout="constrained")
        grid = figure.subplots(2, len(settings), squeeze=False)
        looks = base.looks(material.study.rows)
        for (above, axis), (name, rows) in zip(grid.T, settings.items(), strict=True):
            game = matrices[name]
            above.set_title(base.wrapped(str(name)))
            if game is None:
                above.axis("off")
            else:
                games.draw_matrix(above, game)
            for method, runs in rows.groupby("method"):
                draw(axis, runs, material.view, looks[str(method)])
            finish(axis, material.view)
        names = base.marked(looks, material.caveats)
        entries = {names[name]: base.handle(look) for name, look in looks.items()}
        base.below(figure, entries, material.caveats, looks)
    return figure


def _unregularised(material: Material) -> Figure:
    """The last iterate, solid, and the average, dashed, a panel per game."""
    with base.style():
        settings = dict(iter(material.study.rows.groupby("setting", sort=True)))
        figure, axes = base.panels([str(name) for name in settings])
        looks = base.looks(material.study.rows)
        for axis, rows in zip(axes, settings.values(), strict=False):
            for method, runs in rows[rows[material.view.x] > 0].groupby("method"):
                for metric, line in (("exploitability", "-"), ("average_exploitability", "--")):
                    middle = base.over_cost(runs, metric, material.view.x).clip(lower=FLOOR).median(axis=1)
                    axis.plot(middle.index, middle, color=looks[str(method)].colour, ls=line, lw=1.2,
                              marker=looks[str(method)].marker, ms=3, markevery=max(1, len(middle) // 8))  # fmt: skip
            base.logarithmic(axis)
            axis.set(xlabel=material.view.cost, ylabel="exploitability")
        names = base.marked(looks, material.caveats)
        entries = {names[name]: base.handle(look) for name, look in looks.items()}
        entries |= {"last iterate": Line2D([], [], color="0.45"), "average": Line2D([], [], color="0.45", ls="--")}
        base.below(figure, entries, material.caveats, looks)
    return figure


def _trajectories(material: Material) -> Figure | None:
    return simplex(material.runs, material.caveats)


def _tuning(material: Material) -> Figure | None:
    """Left, what the tuning seeds saw of every step size; right, the chosen ones on the other seeds."""
    if (found := _tuned(material)) is None:
        return None
    table, seeds = found
    chosen = table.set_index("algorithm")["method"]
    seen = comparison.by_key(material.units, material.study.rows, STEP)
    seen = seen[seen["seed"].isin(seeds) & seen[STEP].notna() & seen["algorithm"].isin(chosen.index)]
    if seen.empty:
        return None
    quantity = "score" if seen["reached"].any() else "final"
    with base.style():
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        looks = base.looks(seen.assign(method=seen["algorithm"]))
        for algorithm, rows in seen.groupby("algorithm", sort=True):
            look, means = looks[str(algorithm)], 10 ** rows.groupby(STEP)[quantity].mean()
            left.plot(means.index, means, color=look.colour, marker=look.marker, ms=4, lw=1.3)
            best = rows.loc[rows["method"] == chosen[algorithm], STEP].iloc[0]
            left.plot(best, means[best], marker="o", mfc="none", mec=base.INK, ms=9, ls="")
        view = material.view
        ylabel = f"last {view.title}" if quantity == "final" else f"{view.cost}, misses at budget"
        left.set(xscale="log", yscale="log", xlabel="step size", ylabel=ylabel)
        left.set_title(f"tuning on {len(seeds)} seeds")
        for place, row in enumerate(table.to_dict("records")):
            look = looks[row["algorithm"]]
            middle, low, high = (10 ** row[f"{quantity}{end}"] for end in ("", "_low", "_high"))
            right.errorbar(place, middle, [[middle - low], [high - middle]], color=look.colour, marker=look.marker,
                           ms=5, capsize=3)  # fmt: skip
        labels = [
            f"{base.wrapped(row['algorithm'])}\n{row['method'].rpartition(' = ')[2]}"
            for row in table.to_dict("records")
        ]
        right.set_xticks(range(len(table)), labels)
        right.set(
            yscale="log", xlim=(-0.6, len(table) - 0.4), title=f"the chosen step on {table['seeds'].iloc[0]} others"
        )
        caveats = _of_algorithms(material.caveats)
        names = base.marked(looks, caveats)
        entries = {names[name]: base.handle(look) for name, look in looks.items()}
        entries["chosen"] = Line2D([], [], marker="o", mfc="none", mec=base.INK, ls="", ms=8)
        base.below(figure, entries, caveats, looks)
    return figure


STEP = "algorithm.step_size"
LINES = "Lines are medians over seeds, bands their 95% bootstrap intervals."
EXPERIMENTS = {
    "rates": Experiment(
        "Does every algorithm converge at the rate of its theorem, for every beta?",
        _sweep("beta", "rate"),
        "The linear rate of the tail, fitted, against beta: mean over seeds, its 95% interval, and dashed what the "
        "theorem promises for KL(pi* || pi). A method without a linear tail has no point.",
        frozenset({"rate"}),
    ),
    "baselines": Experiment(
        "Which algorithm needs the fewest queries, on games from transitive to cyclic?",
        _baselines,
        "Median preference queries to the target; a dash: half or more of the seeds spend their budget without it.",
        frozenset({"heatmap"}),
    ),
    "action_space": Experiment(
        "Does the rate depend on the number of actions?",
        _action_space,
        "One curve per number of actions, one draw of a random game each.",
    ),
    "intransitivity": Experiment(
        "What do cycles do to each algorithm?",
        _sweep("game.cyclicity", "cost"),
        f"From a transitive (0) to a cyclic (1) game. {LINES} "
        "Crosses: half or more of the seeds spend their budget without the target.",
    ),
    "human_votes": Experiment(
        "Are real human choices cyclic, and which algorithm solves their games?",
        _human_votes,
        "Above, P(row preferred to column), of votes that are pooled over people and taken as independent, by "
        "falling Bradley-Terry score, majorities that are part of a cyclic triple framed; "
        "whether such cycles are more than chance is said below. Below, exploitability against preference queries.",
        frozenset({"preferences"}),
    ),
    "unregularised": Experiment(
        "Without a KL term: does the last iterate converge, or only the average?",
        _unregularised,
        "Exploitability of the last iterate, solid, and of the average, dashed; medians over seeds.",
    ),
    "step_size": Experiment(
        "How sensitive is each algorithm to its step size, and up to which one does it converge?",
        _sweep("algorithm.step_size", "cost"),
        f"{LINES} Crosses: half or more of the seeds spend their budget without the target.",
        frozenset({"step_size"}),
    ),
    "tune_step_size": Experiment(
        "Which algorithm is best once each has been tuned, with the same budget, on other seeds than it is judged on?",
        _tuning,
        "Left, the mean (of logarithms) on the tuning seeds; right, the chosen step size on the other seeds, with its "
        "95% interval. Every algorithm had as many step sizes and seeds to choose with, and the same budget.",
    ),
    "noise": Experiment(
        "How large is the error that sampled answers leave?",
        _noise,
        f"What is left after a thousand iterations, against m, the opponents that an action meets in a query. {LINES}",
    ),
    "approximate_nash_mp": Experiment(
        "How many gradient steps is a proximal problem worth, at an equal number of votes?",
        _sweep("prox.inner_steps", "final"),
        f"What is left when the votes are spent, against the optimiser's steps for a problem. {LINES}",
    ),
    "neural": Experiment(
        "Which method learns a policy across contexts, from sampled pairs?",
        _neural,
        "Each algorithm at the learning rate (after its name) that did best on the tuning seeds, on the other seeds; "
        f"right, on contexts that nobody was trained on. {LINES}",
    ),
    "judge_bias": Experiment(
        "What does a judge that favours the answer shown first do to each method?",
        _sweep("feedback.position_bias", "final"),
        "What is left when the pairs are spent, against what the judge adds to the logit of the one shown first: in "
        f"the algorithm's order, in a random one, or as the mean of both. {LINES}",
    ),
    "moving_target": Experiment(
        "How fast may a moving target follow?",
        _sweep("algorithm.rate", "final"),
        "What is left after 3,000 gradient steps, against the rate by which the target follows. Anchored to the "
        f"target, nash_prox plays itself, nash_mp_ema plays the target. {LINES}",
    ),
    "language_model": Experiment(
        "Do people, of whom each holds one criterion, prefer the trained language model to the one it started from?",
        _language_model,
        "On prompts that nobody was trained on, a completion of each: the share that the judge prefers to the "
        "reference's, with its exact 95% interval, and the estimated divergence.",
    ),
    "trajectories": Experiment(
        "Where do policies go, and where do they rest?",
        _trajectories,
        "Policies on the simplex of three actions, over level sets of the exploitability (darker is more exploitable); "
        "dots are the recorded rows, about ten per decade of iterations, so that fast cycles look like jumps.",
        frozenset({"simplex"}),
    ),
}

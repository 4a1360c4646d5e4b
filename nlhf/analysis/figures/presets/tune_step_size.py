"""Every algorithm at the step size that it chose on other seeds."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.figures import layout, sensitivity
from nlhf.analysis.figures.preset import Preset, caveats_of_algorithms, tuned_methods
from nlhf.analysis.figures.style import INK, Look, handle, looks_of, marked, style
from nlhf.analysis.results import Results

KEY = "algorithm.step_size"


def draw(results: Results) -> Figure | None:
    """Left, the tuning seeds at every step size; right, the chosen step sizes on the other seeds."""
    if (chosen := tuned_methods(results)) is None:
        return None
    table, seeds = chosen
    tuning = sensitivity.by_key(results.observations, results.study.rows, KEY)
    tuning = tuning[tuning["seed"].isin(seeds) & tuning[KEY].notna() & tuning["algorithm"].isin(table["algorithm"])]
    if tuning.empty:
        return None
    quantity = "score" if tuning["hit"].any() else "final"
    criterion = results.criterion
    with style():
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        looks, caveats = looks_of(tuning.assign(method=tuning["algorithm"])), caveats_of_algorithms(results)
        _tuning(left, tuning, table, quantity, looks)
        ylabel = f"final {criterion.title}" if quantity == "final" else f"{criterion.cost}, misses at limit"
        left.set(xscale="log", yscale="log", xlabel="step size", ylabel=ylabel)
        left.set_title(f"tuning on {len(seeds)} seeds")
        _judged(right, table, quantity, looks)
        right.set_title(f"the chosen step on {table['seeds'].iloc[0]} other seeds")
        names = marked(looks, caveats)
        entries = {names[name]: handle(look) for name, look in looks.items()}
        entries["chosen"] = Line2D([], [], marker="o", mfc="none", mec=INK, ls="", ms=8)
        layout.below(figure, entries, caveats, looks)
    return figure


def _tuning(axis: Axes, tuning: pd.DataFrame, table: pd.DataFrame, quantity: str, looks: dict[str, Look]) -> None:
    """The median on the tuning seeds against the step size; the chosen step has a ring."""
    chosen = table.set_index("algorithm")["method"]
    for algorithm, rows in tuning.groupby("algorithm", sort=True):
        look, medians = looks[str(algorithm)], 10 ** rows.groupby(KEY)[quantity].median()
        axis.plot(medians.index, medians, color=look.colour, marker=look.marker, ms=4, lw=1.3)
        best = rows.loc[rows["method"] == chosen[algorithm], KEY].iloc[0]
        axis.plot(best, medians[best], marker="o", mfc="none", mec=INK, ms=9, ls="")


def _judged(axis: Axes, table: pd.DataFrame, quantity: str, looks: dict[str, Look]) -> None:
    """The median of the chosen step on the other seeds, with its interval."""
    labels = []
    for x, row in enumerate(table.to_dict("records")):
        look = looks[row["algorithm"]]
        middle, low, high = (10 ** row[f"{quantity}{end}"] for end in ("", "_low", "_high"))
        errors = [[middle - low], [high - middle]]
        axis.errorbar(x, middle, errors, color=look.colour, marker=look.marker, ms=5, capsize=3)
        labels.append(f"{layout.wrapped(row['algorithm'])}\n{row['method'].rpartition(' = ')[2]}")
    axis.set_xticks(range(len(table)), labels)
    axis.set(yscale="log", xlim=(-0.6, len(table) - 0.4))


PRESET = Preset(
    "Which algorithm is best once each has been tuned, with the same budget, on other seeds than it is judged on?",
    draw,
    "Left, the median on the tuning seeds, where the lowest mean rank chooses a step; right, the chosen step on the "
    "other seeds, with its 95% interval. All algorithms had the same numbers of step sizes and seeds, and the same "
    "budget.",
)

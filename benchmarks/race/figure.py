"""The figure of the race: seconds to exploitability 1e-8 against the number of actions, a panel for each beta.

A solid line is a method of nlhf, a dashed line a peer. A hollow marker above the time limit is a miss, in a row of the
contestant's own, with the exploitability that it reached.

Run from the checkout: python -m benchmarks.race.figure ROWS.csv ... FILE.png, with rows of `benchmarks.race --rows`.
Of several runs the smallest times count.
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nlhf.analysis.figures.style import COLOURS, INK, MARKERS, style

TARGET, LIMIT = 1e-8, 60.0
ROW, GAP = 1.85, 1.75  # factors between the rows of misses, and between labels
RIGHT, ROOM = 170.0, 1.3  # factors: space for labels, and from a marker to its label
FONT = 7.5
NUMBERS = {  # of colours and markers; those of familiar algorithms are those of other figures
    "nlhf.equilibrium (interior point)": 9, "nlhf restarted_gradient": 0, "HiGHS dual simplex": 1,
    "HiGHS interior point": 2, "HiGHS PDLP": 4, "nashpy": 6, "OpenSpiel regret matching": 3,
    "nlhf.equilibrium (Newton)": 9, "nlhf nash_mp": 0, "nlhf adaptive_optimistic": 6, "nlhf secant": 2,
    "OpenSpiel MMD": 3, "autograd, Adam": 5, "autograd, L-BFGS": 7,
}  # fmt: skip


def main(rows: list[str], path: str) -> None:
    """Draw the rows of one or more runs of the race."""
    data = pd.concat([pd.read_csv(run) for run in rows]).sort_values(["actions", "seconds", "reached"])
    data = data[data["target"] == TARGET].drop_duplicates(["actions", "beta", "contestant"])
    panels = list(data.groupby("beta"))
    misses = max(panel.loc[panel["seconds"].isna(), "contestant"].nunique() for _, panel in panels)
    with style():
        figure, axes = plt.subplots(1, len(panels), figsize=(9.6, 5.0), sharey=True, layout="constrained")
        for axis, (beta, panel) in zip(np.atleast_1d(axes), panels, strict=True):
            draw(axis, panel)
            decorate(axis, sorted(panel["actions"].unique()), LIMIT * ROW**misses * 1.2)
            axis.set_title(f"beta = {beta:g}", loc="left", pad=18)
        figure.supylabel(f"seconds to exploitability {brief(TARGET)}", fontsize=9)
        figure.savefig(path)


def draw(axis: Axes, panel: pd.DataFrame) -> None:
    """The lines, misses and labels of a panel."""
    ends, row = [], LIMIT * ROW**0.7
    for name, runs in sorted(panel.groupby("contestant"), key=lambda entry: order(entry[1])):
        look, reached = look_of(str(name)), runs[runs["seconds"].notna()]
        missed, colour = runs[runs["seconds"].isna()], look["color"]
        axis.plot(reached["actions"], reached["seconds"], **look)
        if missed.empty:
            ends.append((float(reached["seconds"].iloc[-1]), str(name), colour))
            continue
        if len(reached):
            steps = [(runs_of["actions"], height) for runs_of, height in
                     ((reached.iloc[-1], reached["seconds"].iloc[-1]), (missed.iloc[0], row))]  # fmt: skip
            axis.plot(*zip(*steps, strict=True), color=colour, lw=0.8, ls=":")
        axis.plot(missed["actions"], [row] * len(missed), **look | {"ls": "", "mfc": "white"})
        last = missed.iloc[-1]
        best = f" ({brief(last['reached']) if np.isfinite(last['reached']) else 'no answer'})"
        axis.text(last["actions"] * ROOM, row, f"{name}{best}", color=colour, va="center", fontsize=FONT)
        row *= ROW
    ends.sort()
    for height, (_, name, colour) in zip(spread(np.array([end[0] for end in ends])), ends, strict=True):
        axis.text(panel["actions"].max() * ROOM, height, name, color=colour, va="center", fontsize=FONT)


def decorate(axis: Axes, sizes: list[int], top: float) -> None:
    """The scales, and the space of misses, which has no scale."""
    axis.axhspan(LIMIT, top, color=INK, alpha=0.06, lw=0)
    axis.text(sizes[0] * 0.8, top * 1.1, f"not within {LIMIT:g} s (exploitability that was reached)", va="bottom",
              fontsize=FONT)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=(sizes[0] * 0.72, sizes[-1] * RIGHT), ylim=(2e-4, top), xlabel="actions",
             xticks=sizes, xticklabels=[f"{size:,}" for size in sizes], yticks=[1e-3, 1e-2, 0.1, 1, 10, LIMIT],
             yticklabels=["0.001", "0.01", "0.1", "1", "10", f"{LIMIT:g}"])  # fmt: skip
    axis.minorticks_off()
    axis.spines["bottom"].set_bounds(sizes[0] * 0.72, sizes[-1])
    axis.spines["left"].set_bounds(2e-4, LIMIT)
    axis.xaxis.set_label_coords(0.28, -0.07)


def look_of(name: str) -> dict[str, Any]:
    """The options of a line."""
    ours, number = name.startswith("nlhf"), NUMBERS[name]
    return {"color": COLOURS[number], "marker": MARKERS[number], "ms": 4.5, "ls": "-" if ours else "--",
            "lw": 1.8 if ours else 1.1, "zorder": 3 if ours else 2}  # fmt: skip


def order(runs: pd.DataFrame) -> tuple[float, float]:
    """Misses on many actions first: their rows are nearer to the limit, and their lines cross fewer rows."""
    missed = runs[runs["seconds"].isna()]["actions"]
    return -float(missed.min() if len(missed) else np.inf), float(runs["seconds"].max())


def spread(heights: np.ndarray) -> list[float]:
    """Ascending heights of labels, moved apart by a factor and centred on their own places."""
    steps = np.arange(len(heights)) * np.log(GAP)
    wanted = np.log(heights) - steps
    raised, lowered = np.maximum.accumulate(wanted), np.minimum.accumulate(wanted[::-1])[::-1]
    return list(np.exp((raised + lowered) / 2 + steps))


def brief(value: float) -> str:
    """1e-8 for 1e-08."""
    return f"{value:.0e}".replace("e-0", "e-")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", help="CSV files of benchmarks.race --rows")
    parser.add_argument("figure", help="a file for the picture")
    options = parser.parse_args()
    main(options.rows, options.figure)

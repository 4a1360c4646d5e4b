"""The factor by which an iteration contracts KL(pi* || pi), measured and proved, for every regulariser."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import COLOURS, style
from nlhf.analysis.results import Results

KEY, METRIC, BOUND = "regulariser._target_", "kl_to_equilibrium", "kl_bound"
SMALLEST = 1e-20  # values below may be rounding


def draw(results: Results) -> Figure | None:
    """Factors against beta, a panel per algorithm, a colour per regulariser; dashed, what is proved."""
    rows = results.study.rows
    if KEY not in rows or rows[METRIC].isna().all():
        return None
    table = factors(rows)
    names = table.groupby("regulariser")["proved"].mean().sort_values().index
    colours = dict(zip(names, COLOURS[::2], strict=False))
    with style():
        figure, axes = layout.panels(sorted(table["algorithm"].unique()), size=(3.6, 2.8))
        for axis, (_, part) in zip(axes, table.groupby("algorithm", sort=True), strict=False):
            for name, line in part.groupby("regulariser"):
                medians = line.groupby("beta")[["measured", "proved"]].median()
                axis.plot(medians.index, medians["measured"], color=colours[str(name)], marker="o", ms=3)
                axis.plot(medians.index, medians["proved"], color=colours[str(name)], ls="--", lw=0.9)
            axis.set(xscale="log", xlabel="beta", ylabel="factor of KL(pi*, pi) per iteration", ylim=(0, 1.05))
        entries = {name: Line2D([], [], color=colour, marker="o", ms=3) for name, colour in colours.items()}
        entries["proved"] = Line2D([], [], color="0.45", ls="--", lw=0.9)
        layout.below(figure, entries, {}, ())
    return figure


def factors(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean factors of each seed over the second half of its iterations above rounding, measured and proved."""
    lines = []
    for (_, seed), part in rows.groupby(["folder", "seed"], sort=False):
        above = part[part[METRIC] > SMALLEST].sort_values("iteration")
        later = above[above["iteration"] >= above["iteration"].max() / 2]
        if len(later) < 2:
            continue
        first, last = later.iloc[0], later.iloc[-1]
        count = last["iteration"] - first["iteration"]
        measured, proved = (float(np.exp(np.log(last[name] / first[name]) / count)) for name in (METRIC, BOUND))
        named = {"regulariser": config_name(str(first[KEY])), "beta": first["beta"], "seed": seed}
        lines.append({**named, "algorithm": first["algorithm"], "measured": measured, "proved": proved})
    columns = ["regulariser", "beta", "seed", "algorithm", "measured", "proved"]
    return pd.DataFrame(lines, columns=columns)


def config_name(target: str) -> str:
    """The name of a regulariser in configs: chi_square for `nlhf.regularisers.chi_square.ChiSquare`."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", target.rpartition(".")[2]).lower()


PRESET = Preset(
    "How much does one iteration contract with each regulariser, and how much is proved?",
    draw,
    "The factor by which one iteration multiplies KL(pi* || pi), a mean over the second half of a run; medians over "
    "seeds. Dashed: the proved factor (1 + lambda beta sigma)^-1; sigma is 1 for the reverse KL, min ref for the "
    "forward KL, and 0 for chi-square, for which only a factor of 1 is proved.",
    frozenset({"rate"}),
)

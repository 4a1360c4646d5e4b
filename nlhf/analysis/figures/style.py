"""How figures look: colours and markers of methods, fonts, and line widths.

The colours differ for colour-blind readers and in grey print. A familiar algorithm has the same colour and marker in
the figures of every study, any other algorithm in all figures of its study; configurations are shades of the colour.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from nlhf.analysis.wording import MARK

INK = "#1f2328"
COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#805a20", "#7048e8", "#a0a0a0", "#1f2328")
MARKERS = "oD^sPXv<>*hd"
FAMILIAR = ("nash_mp", "adaptive_nash_mp", "optimistic", "nash_md", "self_play", "omd", "adaptive_optimistic", "sppo",
            "egpo", "proximal_point")  # fmt: skip
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9, "axes.labelsize": 9,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "font.size": 9, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.fonttype": "path", "savefig.dpi": 200,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colour and marker of a method."""

    colour: Any
    marker: str


@contextmanager
def style() -> Iterator[None]:
    """The rcParams of all figures."""
    with mpl.rc_context(STYLE):
        yield


def looks_of(data: pd.DataFrame) -> dict[str, Look]:
    """The look of every method of a table with the columns `method` and `algorithm`."""
    methods = data[["algorithm", "method"]].drop_duplicates().sort_values(["algorithm", "method"])
    by_method: dict[str, Look] = {}
    for algorithm, number in _numbers(sorted(methods["algorithm"].unique())).items():
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        variants = methods.loc[methods["algorithm"] == algorithm, "method"].tolist()
        shades = [colour] if len(variants) == 1 else sns.light_palette(colour, len(variants) + 2)[2:]
        by_method |= {method: Look(shade, marker) for method, shade in zip(variants, shades, strict=True)}
    return by_method


def _numbers(names: list[str]) -> dict[str, int]:
    """The number of each algorithm's colour and marker; familiar algorithms have fixed numbers."""
    fixed = {name: number for number, name in enumerate(FAMILIAR) if name in names}
    free = (number for number in itertools.count() if number not in fixed.values())
    return fixed | {name: next(free) for name in names if name not in fixed}


def handle(look: Look, **options: Any) -> Line2D:
    """A legend's line for a look."""
    return Line2D([], [], color=look.colour, marker=look.marker, ms=4.5, lw=1.3, **options)


def marked(names: Iterable[Any], caveats: dict[str, str]) -> dict[str, str]:
    """The names of methods in figures; a mark follows the name of a method with a caveat."""
    return {str(name): f"{name}{MARK}" if name in caveats else str(name) for name in names}

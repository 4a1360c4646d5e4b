"""What all figures share: how methods look, how panels are laid out, how a figure is saved.

Colours are told apart by colour-blind readers and in grey print; a familiar algorithm has one colour and one marker in
all figures of all studies, another one in all figures of its study, and configurations are shades of it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from rich.cells import cell_len

from nlhf.analysis.conclusions import MARK, notes
from nlhf.analysis.figures.fonts import legible, use_fallbacks
from nlhf.io.files import replacing, writing
from nlhf.terminal import visible

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
PANEL = (3.1, 2.5)  # inches
ACROSS = 3
MOST_PANELS = 24
LONGEST = 120  # characters of a part of a title


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


def looks(data: pd.DataFrame) -> dict[str, Look]:
    """The look of every method of a table with the columns `method` and `algorithm`."""
    methods = data[["algorithm", "method"]].drop_duplicates().sort_values(["algorithm", "method"])
    found: dict[str, Look] = {}
    for algorithm, place in _places(sorted(methods["algorithm"].unique())).items():
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        variants = methods.loc[methods["algorithm"] == algorithm, "method"].tolist()
        shades = [colour] if len(variants) == 1 else sns.light_palette(colour, len(variants) + 2)[2:]
        found |= {method: Look(shade, marker) for method, shade in zip(variants, shades, strict=True)}
    return found


def _places(names: list[str]) -> dict[str, int]:
    """The colour and marker of every algorithm: familiar ones have their own, others what those leave free."""
    own = {name: place for place, name in enumerate(FAMILIAR) if name in names}
    free = (place for place in itertools.count() if place not in own.values())
    return own | {name: next(free) for name in names if name not in own}


def panels(titles: list[str], across: int = ACROSS, size: tuple[float, float] = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per title, in rows of at most `across`; further ones than MOST_PANELS are left out."""
    shown = [wrapped(title, int(11 * size[0])) for title in titles[:MOST_PANELS]]
    columns = min(across, len(shown))
    rows = -(-len(shown) // columns)
    high = size[1] + 0.14 * max(title.count("\n") for title in shown)
    figure = Figure(figsize=(max(size[0] * columns, 4.2), high * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axis in grid[len(shown) :]:
        axis.remove()
    for axis, title in zip(grid, shown, strict=False):
        axis.set_title(title)
    if len(shown) < len(titles):
        figure.suptitle(f"{len(shown)} of {len(titles)} settings", fontsize=9)
    return figure, grid[: len(shown)]


def wrapped(title: str, width: int = 40) -> str:
    """A title in lines, broken behind commas, and within a part that is longer than a line; shown literally."""
    title = legible(visible(title))
    if cell_len(title) > len(title):
        width = width * 2 // 3  # a Chinese character is as wide as two letters
    lines = [""]
    for part in map(_shortened, title.split(", ")):
        if lines[-1] and len(lines[-1]) + len(part) + 2 > width:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]}, {part}" if lines[-1] else part
    return plain(",\n".join(line if len(line) <= width else textwrap.fill(line, width * 7 // 8) for line in lines))


def _shortened(part: str) -> str:
    """A very long part without its middle, for which a digest stands: different parts stay different."""
    if len(part) <= LONGEST:
        return part
    return f"{part[: LONGEST - 20]}…{hashlib.sha256(part.encode()).hexdigest()[:8]}…{part[-10:]}"


def extent(labels: list[str]) -> tuple[int, int]:
    """The width of the widest line in letters, and the most lines."""
    lines = [label.split("\n") for label in labels]
    return max(cell_len(line) for label in lines for line in label), max(map(len, lines))


def plain(text: str) -> str:
    """A text that Matplotlib shows literally: two dollars would be mathematics."""
    return text.replace("$", r"\$")


def logarithmic(axis: Axes, x: bool = True, y: bool = True) -> None:
    """Logarithmic scales; where they show but one power of ten, what lies between is numbered, shortly."""
    for wanted, scale, line in ((x, axis.set_xscale, axis.xaxis), (y, axis.set_yscale, axis.yaxis)):
        if wanted:
            scale("log")
            line.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def below(figure: Figure, entries: dict[str, Any], caveats: dict[str, str], shown: Iterable[Any]) -> None:
    """One legend below all panels, in as many columns as fit, and under it what the marks of methods mean."""
    width, height = figure.get_size_inches()
    entries = {wrapped(name, int(width * 14) - 8): look for name, look in entries.items()}
    longest = max((len(line) for name in entries for line in name.split("\n")), default=0)
    columns = max(1, min(len(entries), int(width * 14 / (longest + 6))))
    lines = (textwrap.fill(legible(visible(line)), int(width * 17), subsequent_indent="   ")
             for line in notes(caveats, shown))  # fmt: skip
    note = plain("\n".join(lines))
    of_note = 0.125 * (note.count("\n") + 1) + 0.08 if note else 0.02
    high = 0.06 + 0.14 * max((name.count("\n") + 1 for name in entries), default=0)
    of_legend = high * -(-len(entries) // columns) + 0.1 if entries else 0.0
    total = height + of_note + of_legend
    figure.set_size_inches(width, total)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, (of_note + of_legend) / total, 1, height / total))
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="lower center", ncols=columns, borderaxespad=0,
                      bbox_to_anchor=(0.5, (of_note + 0.04) / total))  # fmt: skip
    figure.text(0.01, 0.05 / total, note, fontsize=7, va="bottom")


def handle(look: Look, **options: Any) -> Line2D:
    """A legend's line for a look."""
    return Line2D([], [], color=look.colour, marker=look.marker, ms=4.5, lw=1.3, **options)


def marked(names: Iterable[Any], caveats: dict[str, str]) -> dict[str, str]:
    """What figures call methods: those with a caveat carry a mark."""
    return {str(name): f"{name}{MARK}" if name in caveats else str(name) for name in names}


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PDF and PNG; returns their paths.

    Raises: WriteError; earlier files are kept then.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{ending}" for ending in (".pdf", ".png")]
    with style():
        settle(figure)
        for path in paths:
            content, metadata = io.BytesIO(), {"CreationDate": None} if path.suffix == ".pdf" else None
            figure.savefig(content, format=path.suffix[1:], metadata=metadata)
            with replacing(path, "wb") as stream:
                stream.write(content.getbuffer())
    return paths


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element whose ink is the page's text colour; its ids, those that are used, start with its
    name."""
    stream = io.StringIO()
    with style(), mpl.rc_context({"svg.hashsalt": name}):
        settle(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)


def settle(figure: Figure) -> None:
    """Choose the fonts and lay the figure out, once for all formats."""
    use_fallbacks(figure)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")


def over_cost(runs: pd.DataFrame, metric: str, x: str) -> pd.DataFrame:
    """A metric as a table cost x seeds; a seed keeps its last value until the next row and after its end."""
    table = runs.pivot_table(index=x, columns=["folder", "seed"], values=metric, aggfunc="last")
    return table.sort_index().ffill()

"""How panels, titles and legends are laid out."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from rich.cells import cell_len

from nlhf.analysis.figures.fonts import legible
from nlhf.analysis.wording import notes
from nlhf.terminal import visible

PANEL = (3.1, 2.5)  # inches
ACROSS = 3
MOST_PANELS = 24
LONGEST = 120  # characters of a part of a title


def panels(titles: list[str], across: int = ACROSS, size: tuple[float, float] = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per title, up to MOST_PANELS, in rows of at most `across`."""
    panel_titles = [wrapped(title, int(11 * size[0])) for title in titles[:MOST_PANELS]]
    columns = min(across, len(panel_titles))
    rows = -(-len(panel_titles) // columns)
    height = size[1] + 0.14 * max(title.count("\n") for title in panel_titles)
    figure = Figure(figsize=(max(size[0] * columns, 4.2), height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axis in grid[len(panel_titles) :]:
        axis.remove()
    for axis, title in zip(grid, panel_titles, strict=False):
        axis.set_title(title)
    if len(panel_titles) < len(titles):
        figure.suptitle(f"{len(panel_titles)} of {len(titles)} settings", fontsize=9)
    return figure, grid[: len(panel_titles)]


def wrapped(title: str, width: int = 40) -> str:
    """A title in lines, broken after commas and within parts longer than a line, without TeX markup."""
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
    """The part, or its ends around a digest if it is very long; different parts stay different."""
    if len(part) <= LONGEST:
        return part
    return f"{part[: LONGEST - 20]}…{hashlib.sha256(part.encode()).hexdigest()[:8]}…{part[-10:]}"


def extent(labels: list[str]) -> tuple[int, int]:
    """The width of the widest line in letters, and the largest number of lines."""
    lines = [label.split("\n") for label in labels]
    return max(cell_len(line) for label in lines for line in label), max(map(len, lines))


def plain(text: str) -> str:
    """The text with escaped dollars, which Matplotlib would read as mathematics."""
    return text.replace("$", r"\$")


def logarithmic(axis: Axes, x: bool = True, y: bool = True) -> None:
    """Set logarithmic scales; short ones also get numbers between the powers of ten.

    A scale stays linear if no value on it is positive, as for the rate of methods that all move away.
    """
    limits = axis.dataLim
    for chosen, scale, line, interval in (
        (x, axis.set_xscale, axis.xaxis, limits.intervalx),
        (y, axis.set_yscale, axis.yaxis, limits.intervaly),
    ):
        if chosen and interval[1] > 0:  # the upper end, -inf without data
            scale("log")
            line.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def below(figure: Figure, entries: dict[str, Any], caveats: dict[str, str], methods: Iterable[Any]) -> None:
    """Add a legend below all panels, in as many columns as fit, and below it the caveats of methods."""
    width, height = figure.get_size_inches()
    entries = {wrapped(name, int(width * 14) - 8): look for name, look in entries.items()}
    longest = max((len(line) for name in entries for line in name.split("\n")), default=0)
    columns = max(1, min(len(entries), int(width * 14 / (longest + 6))))
    lines = [legible(visible(line)) for line in notes(caveats, methods)]
    note = plain("\n".join(textwrap.fill(line, int(width * 17), subsequent_indent="   ") for line in lines))
    note_height = 0.125 * (note.count("\n") + 1) + 0.08 if note else 0.02
    row = 0.06 + 0.14 * max((name.count("\n") + 1 for name in entries), default=0)
    legend_height = row * -(-len(entries) // columns) + 0.1 if entries else 0.0
    total = height + note_height + legend_height
    figure.set_size_inches(width, total)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, (note_height + legend_height) / total, 1, height / total))
    if entries:
        anchor = (0.5, (note_height + 0.04) / total)
        figure.legend(
            list(entries.values()), list(entries), loc="lower center", ncols=columns, borderaxespad=0,
            bbox_to_anchor=anchor,
        )  # fmt: skip
    figure.text(0.01, 0.05 / total, note, fontsize=7, va="bottom")

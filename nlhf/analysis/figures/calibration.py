"""The reliability diagram of a judge: what it says beside how people voted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import COLOURS, INK, style


def reliability(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> Figure:
    """A panel for every name: of each bin the mean probability, the share of the votes, and how many they are."""
    with style():
        figure, axes = layout.panels(list(curves))
        for axis, (name, bins) in zip(axes, curves.items(), strict=True):
            said, was, number = zip(*bins, strict=True)
            axis.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
            axis.plot(said, was, color=COLOURS[0], lw=1.2)
            axis.scatter(said, was, s=[60 * size / max(number) for size in number], color=COLOURS[0], zorder=3)
            error = sum(size * abs(p - q) for p, q, size in bins) / sum(number)
            axis.text(0.04, 0.9, f"calibration error {error:.3f}", fontsize=8)
            axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="the judge's probability", ylabel="share of the votes")
            axis.set_title(layout.wrapped(name))
    return figure

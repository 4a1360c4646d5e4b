"""The reliability diagram of a judge: its probabilities against the shares of votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import COLOURS, INK, style


def reliability(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> Figure:
    """A panel per name; each bin holds the mean probability, the share of the votes, and their number."""
    with style():
        figure, axes = layout.panels(list(curves))
        for axis, (name, bins) in zip(axes, curves.items(), strict=True):
            predicted, actual, votes = zip(*bins, strict=True)
            axis.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
            axis.plot(predicted, actual, color=COLOURS[0], lw=1.2)
            axis.scatter(predicted, actual, s=[60 * size / max(votes) for size in votes], color=COLOURS[0], zorder=3)
            error = sum(size * abs(p - q) for p, q, size in bins) / sum(votes)
            axis.text(0.04, 0.9, f"calibration error {error:.3f}", fontsize=8)
            axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="the judge's probability", ylabel="share of the votes")
            axis.set_title(layout.wrapped(name))
    return figure

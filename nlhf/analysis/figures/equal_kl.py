"""Win rates of language models against their KL divergence from the reference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import handle, looks_of, style
from nlhf.stats.clusters import clustered_mean
from nlhf.stats.equal_divergence import Curve

ENDS = ("value", "low", "high")
CAPTION = (
    "Win rate on the test prompts against the KL divergence from the reference, a point for each row of a run, with "
    "95% intervals over prompts; the axis is linear in the root of the divergence. Dotted: the largest divergence that "
    "all runs reach."
)


def win_rate_over_kl(
    curves: Mapping[tuple[str, str, int], Curve], rows: pd.DataFrame, caveats: dict[str, str]
) -> Figure:
    """A panel per setting, a line per run."""
    settings = sorted({setting for setting, _, _ in curves})
    with style():
        figure, axes = layout.panels(settings if len(settings) > 1 else ["at equal KL divergence"], size=(4.4, 3.0))
        looks = looks_of(rows)
        for setting, axis in zip(settings, axes, strict=False):
            farthest = []
            for (other, method, _), curve in curves.items():
                if other == setting:
                    look, divergence = looks[method], curve.divergences.mean(1)
                    rates = [clustered_mean(wins, np.ones(len(wins))) for wins in curve.wins]
                    value, low, high = (np.array([getattr(rate, end) for rate in rates]) for end in ENDS)
                    axis.plot(divergence, value, color=look.colour, marker=look.marker, ms=3.2, lw=1.3)
                    axis.vlines(divergence, low, high, color=look.colour, alpha=0.4, lw=1.0)
                    farthest.append(float(divergence.max()))
            axis.axvline(min(farthest), color="0.45", ls=":", lw=1.0)
            axis.axhline(0.5, color="0.45", ls=":", lw=1.0)
            axis.set_xscale("function", functions=(_root, np.square))
            axis.set(xlabel="KL to the reference, nats", ylabel="win rate, test prompts", ylim=(0, 1))
            axis.set_xlim(0, 1.05 * max(farthest))
        layout.below(figure, {name: handle(look) for name, look in looks.items()}, caveats, looks)
    return figure


def _root(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(values, 0)))

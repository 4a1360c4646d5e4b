"""How the equilibrium of one preference matrix changes with beta and with the payoff, as bars that add up to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import COLOURS, style

NAMED = 9  # items with a colour of their own
REST = "0.88"


def mixtures_by_beta_and_payoff(
    items: Sequence[str],
    betas: Sequence[float],
    by_beta: np.ndarray,
    payoffs: Sequence[str],
    by_payoff: np.ndarray,
) -> Figure:
    """Two panels of bars, one bar for each beta at the linear payoff and one for each payoff at beta = 0.

    Args:
        items: n names.
        by_beta: equilibria, (B, n).
        by_payoff: equilibria, (P, n).
    """
    largest = np.vstack([by_beta, by_payoff]).max(0)
    ranked = np.lexsort((-by_beta[-1].round(9), -largest.round(9), -by_beta[0].round(9)))
    named = [int(k) for k in sorted(ranked, key=lambda k: -largest[k].round(9))[:NAMED]]
    order = [int(k) for k in ranked if int(k) in named]
    with style():
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        betas_axis, payoffs_axis = figure.subplots(1, 2, sharey=True, width_ratios=(len(betas), len(payoffs)))
        _bars(betas_axis, [f"{beta:g}" for beta in betas], by_beta[:, order])
        _bars(payoffs_axis, list(payoffs), by_payoff[:, order])
        betas_axis.set(xlabel="beta, payoff linear", ylabel="share in the equilibrium", ylim=(0, 1))
        payoffs_axis.set(xlabel="payoff, beta 0")
        handles = {items[k]: _patch(COLOURS[number]) for number, k in enumerate(order)}
        if len(items) > len(order):
            handles["all others"] = _patch(REST)
        layout.below(figure, handles, {}, ())
    return figure


def _bars(axis: Axes, labels: list[str], shares: np.ndarray) -> None:
    """Bars of the shares (L, k) from the bottom, and of the rest."""
    bottom = np.zeros(len(labels))
    for column, share in enumerate(shares.T):
        axis.bar(labels, share, 0.72, bottom, color=COLOURS[column], edgecolor="white", linewidth=0.5)
        bottom += share
    axis.bar(labels, np.maximum(1 - bottom, 0), 0.72, bottom, color=REST, edgecolor="white", linewidth=0.5)
    axis.tick_params(axis="x", length=0)


def _patch(colour: str) -> Rectangle:
    return Rectangle((0, 0), 1, 1, color=colour)

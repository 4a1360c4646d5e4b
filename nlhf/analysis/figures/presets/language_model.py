"""The win rate of a trained language model against its start, and its divergence from it."""

from __future__ import annotations

from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.preset import Preset
from nlhf.analysis.figures.style import handle, looks_of, style
from nlhf.analysis.results import Results


def draw(results: Results) -> Figure | None:
    """Win rate against the reference with its interval, and KL to it, against queries."""
    rows, cost = results.study.rows, results.criterion.x
    if "kl_low" not in rows:  # as for runs of older versions
        rows = rows.assign(kl_low=float("nan"), kl_high=float("nan"))
    if "test_win_rate_vs_reference" not in rows or rows["test_win_rate_vs_reference"].isna().all():
        return None
    with style():
        figure, axes = layout.panels(["preferred to the reference", "KL to the reference"])
        looks = looks_of(rows)
        for (method, _), run in rows[rows[cost] > 0].groupby(["method", "folder"]):
            look = looks[str(method)]
            kl, wins = run["test_kl_to_reference"], run["test_win_rate_vs_reference"]
            curves = ((wins, run["win_rate_low"], run["win_rate_high"]), (kl, run["kl_low"], run["kl_high"]))
            for axis, (middle, low, high) in zip(axes, curves, strict=True):
                axis.plot(run[cost], middle, color=look.colour, marker=look.marker, ms=3.2, lw=1.3)
                axis.fill_between(run[cost], low, high, color=look.colour, alpha=0.15, lw=0)
        axes[0].axhline(0.5, color="0.45", ls=":", lw=1.0)
        axes[0].set(xlabel=results.criterion.cost, ylabel="win rate, test prompts", ylim=(0, 1))
        axes[1].set(xlabel=results.criterion.cost, ylabel="nats")
        layout.below(figure, {name: handle(look) for name, look in looks.items()}, results.caveats, looks)
    return figure


PRESET = Preset(
    "Do judges that each hold one criterion prefer the trained language model to the one it started from?",
    draw,
    "Completions of the test prompts: the share that the judge prefers to the reference's, and the estimated KL "
    "divergence, with 95% intervals over prompts.",
)

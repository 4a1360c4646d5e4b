"""What k samples of a policy promise, for policies that were trained against different numbers of competitors."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nlhf.analysis.figures import layout
from nlhf.analysis.figures.game_file import game_of
from nlhf.analysis.figures.preset import LINES, Preset
from nlhf.analysis.figures.style import style
from nlhf.analysis.results import Results
from nlhf.io.arrays import read_arrays
from nlhf.stats.medians import median_interval

SAMPLES = (1, 2, 4, 8, 16, 32)
KEY = "game.competitors"


def draw(results: Results) -> Figure | None:
    """The guaranteed win rate against the number of samples, a line for each number of competitors."""
    runs = results.study.rows.drop_duplicates("folder")
    if KEY not in runs or runs[KEY].isna().all():
        return None
    lines = {
        int(row[KEY]): rates for _, row in runs.iterrows() if (rates := guarantees(Path(row["folder"]))) is not None
    }
    if not lines:
        return None
    with style():
        figure = Figure(figsize=(1.5 * layout.PANEL[0], 1.2 * layout.PANEL[1]), layout="constrained")
        axis = figure.subplots()
        best = [k / (k + 1) for k in SAMPLES]
        axis.plot(SAMPLES, best, color="0.4", ls=":", lw=1.2, label="k/(k + 1), the best possible")
        for shade, (competitors, rates) in zip(np.linspace(0.15, 0.85, len(lines)), sorted(lines.items()), strict=True):
            middle, (low, high) = np.median(rates, 1), np.transpose([median_interval(row) for row in rates])
            colour = mpl.colormaps["viridis"](shade)
            axis.plot(SAMPLES, middle, color=colour, marker="o", ms=3, lw=1.3, label=f"{competitors}")
            axis.fill_between(SAMPLES, low, high, color=colour, alpha=0.15, lw=0)
        axis.set(xlabel="samples k", ylabel="least win rate of the best of k", ylim=(0, 1))
        axis.set_xscale("log", base=2)
        axis.set_xticks(SAMPLES, [str(k) for k in SAMPLES])
        axis.legend(title="competitors in training", fontsize="small")
    return figure


def guarantees(folder: Path) -> np.ndarray | None:
    """The probability that the best of k samples beats any one answer, at least, (len(SAMPLES), seeds)."""
    import torch

    from nlhf.games.competition import CompetitionGame

    game, saved = game_of(folder), read_arrays(folder / "policy.npz")
    if game is None or "ranks" not in game or saved is None or "log_policy" not in saved:
        return None
    policy = torch.from_numpy(np.exp(saved["log_policy"]))
    tables = torch.from_numpy(game["ranks"]), torch.from_numpy(game["weights"])
    against = [CompetitionGame(tuple(game["items"]), ("all",), *tables, k) for k in SAMPLES]
    picked = [game.payoff(policy).amax((1, 2)) * game.competitors + 1 / (game.competitors + 1) for game in against]
    return 1 - np.stack([most.numpy() for most in picked])


PRESET = Preset(
    "Which policy should people be able to sample k times from?",
    draw,
    "The probability, at least, that the best of k samples is preferred to any one other answer, for policies that "
    f"were trained against 1 to 16 competitors. {LINES}",
)

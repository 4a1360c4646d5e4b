"""The table and the figure of benchmarks/language_study.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.language_study import Run
from nlhf.analysis.figures import layout
from nlhf.analysis.figures.style import handle, looks_of, style
from nlhf.analysis.text_pairs import paired_differences, sentence
from nlhf.config import build
from nlhf.io.json_files import read_json, read_json_lines
from nlhf.judges.base import TextJudge
from nlhf.stats.clusters import clustered_mean

Runs = Mapping[str, Mapping[str, Sequence[Run]]]  # by panel and method
DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "language_study.md"
MARK = "<!-- What follows is written by `python -m benchmarks.language_study --write`. -->\n"
HEAD = ("judge", "method", "learning rate", "steps", "win rate", "seeds", "KL", "exploitability")


def text(runs: Runs, scale: float) -> str:
    """The table with its sentences, as Markdown."""
    rows = [_row(panel, method, members) for panel, methods in runs.items() for method, members in methods.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows)]
    sentences = []
    for panel, methods in runs.items():
        table = paired_differences(pd.concat([_wins(run) for members in methods.values() for run in members]))
        cyclic, triples = cycles([run for members in methods.values() for run in members])
        share = f"{cyclic / triples:.3f}" if triples else "-"
        sentences += [
            f"* Judge {panel}: {sentence(table) or 'too few prompts for a test.'} Of {triples:,} triples of "
            f"completions of the same prompt, a share of {share} is cyclic.",
        ]
    note = "" if scale == 1 else f"The times of training were multiplied by {scale:g}.\n\n"
    return note + "\n".join(lines) + "\n\n" + "\n".join(sentences) + "\n"


def _row(panel: str, method: str, runs: Sequence[Run]) -> list[str]:
    """The cells of a method: win rates with an interval over prompts, and the range over seeds."""
    wins = pd.concat(map(_wins, runs)).groupby("prompt")["win_rate"].mean().to_numpy()
    mean = clustered_mean(wins, np.ones(len(wins)))
    rates = [run.win_rate for run in runs]
    steps = [run.summary["progress"]["iterations"][0] for run in runs]
    bounds = [(read_json(run.folder / "exploiter.json") or {}).get("lower_bound", float("nan")) for run in runs]
    return [
        *(panel, method, f"{runs[0].rate:g}", f"{np.mean(steps):.0f}"),
        f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]",
        f"{min(rates):.3f} to {max(rates):.3f}",
        f"{np.mean([run.summary['final']['test_kl_to_reference'] for run in runs]):.2f}",
        f">= {min(bounds):.3f} to {max(bounds):.3f}",
    ]


def _wins(run: Run) -> pd.DataFrame:
    """The win rate on every test prompt."""
    entries = [(entry["prompt"], entry["win_rate"]) for entry in read_json_lines(run.folder / "completions.jsonl")]
    table = pd.DataFrame(entries, columns=["prompt", "win_rate"])
    return table.assign(setting=run.config["study"], method=run.method, seed=run.config["seeds"][0])


def cycles(runs: Sequence[Run]) -> tuple[int, int]:
    """The cyclic triples among the completions of each prompt by all policies and references, and all triples."""
    answers: dict[str, dict[str, None]] = {}
    for run in runs:
        for entry in read_json_lines(run.folder / "completions.jsonl"):
            answers.setdefault(entry["prompt"], {}).update({entry["reference"]: None, entry["policy"]: None})
    judge: TextJudge = build(runs[0].config["game"]["judge"], "game.judge", TextJudge)
    triples = sum(math.comb(len(texts), 3) for texts in answers.values())
    return cyclic_triples(judge, {prompt: list(texts) for prompt, texts in answers.items()}), triples


def cyclic_triples(judge: TextJudge, answers: Mapping[str, Sequence[str]]) -> int:
    """How many triples of answers to the same prompt the judge prefers in a strict cycle."""
    pairs = [(prompt, *pair) for prompt, texts in answers.items() for pair in combinations(texts, 2)]
    signs = iter(np.sign(judge.preference(pairs) - 0.5).tolist())
    cyclic = 0
    for texts in answers.values():
        gains = {pair: next(signs) for pair in combinations(range(len(texts)), 2)}
        cyclic += sum(gains[a, b] == gains[b, c] == -gains[a, c] != 0 for a, b, c in combinations(range(len(texts)), 3))
    return cyclic


def figure(runs: Runs) -> Figure:
    """Win rate on the test prompts against seconds of training, a curve for every seed."""
    methods = list(dict.fromkeys(method for members in runs.values() for method in members))
    looks = looks_of(pd.DataFrame({"algorithm": methods, "method": methods}))
    with style():
        plot, axes = layout.panels([f"judge: {panel}" for panel in runs])
        for axis, members in zip(axes, runs.values(), strict=True):
            for method, seeds in members.items():
                for run in seeds:
                    rows = pd.read_csv(run.folder / "metrics.csv")
                    axis.plot(rows["seconds"] / 60, rows["test_win_rate_vs_reference"], color=looks[method].colour,
                              marker=looks[method].marker, ms=3, lw=1)  # fmt: skip
            axis.axhline(0.5, color="0.45", ls=":", lw=1.0)
            axis.set(xlabel="minutes of training", ylabel="win rate, test prompts", ylim=(0, 1))
        layout.below(plot, {name: handle(look) for name, look in looks.items()}, {}, looks)
    return plot


def write(runs: Runs, scale: float) -> None:
    """Put the table into docs/language_study.md, and the figure beside it."""
    page = PAGE.read_text()
    picture = "![Win rate against the reference over minutes of training](language_study.png)\n\n"
    PAGE.write_text(page[: page.index(MARK) + len(MARK)] + "\n" + picture + text(runs, scale))
    figure(runs).savefig(DOCS / "language_study.png", dpi=110)

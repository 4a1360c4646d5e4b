"""The page of a file of votes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nlhf.leaderboard.matrix import Matrix
from nlhf.leaderboard.proof import Proof
from nlhf.leaderboard.summary import VotesSummary

MOST_ITEMS = 40  # in a picture


def write(votes: VotesSummary, path: str, folder: Path) -> Path:
    """Write folder/report.html and its figure; returns the page's path."""
    from nlhf.analysis.figures.games import matrix
    from nlhf.analysis.page import Picture
    from nlhf.analysis.page import write as write_page

    pooled, name = votes.pooled, Path(path).name
    pictures = []
    if len(pooled.items) <= MOST_ITEMS:
        caption = "Sorted by decreasing Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(list(pooled.items), pooled.preference, pooled.diagnosis, name)
        pictures.append(Picture("preferences", figure, caption))
    rows = [
        [
            context.name,
            f"{context.votes:g}",
            len(context.triples),
            f"{context.diagnosis.cyclic:.2f}",
            context.winner or "none",
            context.mixture,
        ]
        for context in votes.contexts
    ]
    lines = [*([f"{votes.report.sentence}."] if votes.report else []), *votes.lines]
    tables = {"rows": rows, "scores": _ranking(pooled, votes.proof)}
    return write_page(folder, "votes.html.jinja", pictures, title=name, lines=lines, **tables)


def _ranking(pooled: Matrix, proof: Proof | None) -> list[list[str]]:
    """Items by decreasing Bradley-Terry score: name, score, mean win rate, equilibrium share, and what is proved."""
    scores, win_rates = pooled.diagnosis.scores, (pooled.preference.sum(1) - 0.5) / (len(pooled.items) - 1)
    return [
        [pooled.items[k], f"{scores[k]:+.2f}", f"{win_rates[k]:.3f}", f"{pooled.nash.shares[k]:.3f}"]
        + ([f"{0.5 + part.items[k]:.3f}" for part in (proof.once, proof.anytime)] if proof else [])
        for k in np.argsort(-scores, kind="stable")
    ]

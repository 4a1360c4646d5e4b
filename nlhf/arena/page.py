"""The page of an arena: the win rates, the Nash mixture, and answers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.analysis.figures.games import matrix
from nlhf.analysis.page import Picture
from nlhf.analysis.page import write as write_page
from nlhf.arena.games import Arena
from nlhf.models.prompts import prompt_text
from nlhf.terminal import completion

if TYPE_CHECKING:
    from nlhf.arena.ranking import Standings

MOST_PROMPTS, MOST_ITEMS = 12, 40


def write(folder: Path, found: Standings, arena: Arena) -> Path:
    """Write folder/report.html and its figure; returns the page's path."""
    names = list(found.pooled.items)
    pictures = []
    if len(names) <= MOST_ITEMS:
        caption = "The mean over prompts, by falling Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(names, found.pooled.preference, found.pooled.found, "P(row preferred to column)")
        pictures.append(Picture("win_rates", figure, caption))
    columns = (found.field, found.exploitability, found.nash)
    rows = [[names[k], *("{:.3f} [{:.3f}, {:.3f}]".format(*column[k]) for column in columns)] for k in found.order]
    rules = arena.rules.card
    judge = str(rules["judge"].get("_target_", "?")).rpartition(".")[2] if isinstance(rules["judge"], dict) else "?"
    held = f"{len(rules['prompts'])} prompts, {rules['completions']} completions of each contestant, judged by {judge}."
    lines, title = [found.headline, *found.lines, held], f"{folder.resolve().parent.name}/{folder.name}"
    return write_page(
        folder,
        "arena.html.jinja",
        pictures,
        title=title,
        lines=lines,
        rows=rows,
        pairs=_pairs(found),
        answers=_answers(arena, [names[k] for k in found.order]),
        left_out=max(0, len(arena.rules.prompts) - MOST_PROMPTS),
    )


def _pairs(found: Standings) -> list[list[str]]:
    """Every pair that has played, the clearest first."""
    names, preference = found.pooled.items, found.pooled.preference
    n = len(names)
    pairs = [
        (i, j)
        for i in range(n)
        for j in range(n)
        if found.games[i, j] and (preference[i, j], -i) > (preference[j, i], -j)
    ]
    pairs.sort(key=lambda pair: -float(preference[pair]))
    return [
        [
            names[i],
            names[j],
            f"{preference[i, j]:.3f} [{found.low[i, j]:.3f}, {found.high[i, j]:.3f}]",
            str(found.games[i, j]),
        ]
        for i, j in pairs
    ]


def _answers(arena: Arena, names: list[str]) -> list[dict[str, Any]]:
    """Of some prompts the first completion of each contestant, with the mean of what it won there."""
    won = arena.of_prompts
    shown = []
    for number, prompt in enumerate(arena.rules.prompts[:MOST_PROMPTS]):
        entries = []
        for name in names:
            wins = [np.mean(won[name, other][number]) for other in names if number in won.get((name, other), {})]
            if texts := arena.texts.get((name, number)):
                share = f"{np.mean(wins):.2f}" if wins else "-"
                entries.append({"name": name, "text": completion(texts[0]), "share": share})
        shown.append({"prompt": prompt_text(prompt), "entries": entries})
    return shown

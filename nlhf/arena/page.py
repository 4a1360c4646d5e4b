"""The page of an arena: win rates, the Nash mixture, and completions side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.analysis.arena_ranking import ArenaRanking
from nlhf.analysis.figures.games import matrix
from nlhf.analysis.page import Picture
from nlhf.analysis.page import write as write_page
from nlhf.leaderboard.certificate import answer
from nlhf.leaderboard.certificate import pictures as certificate_pictures
from nlhf.leaderboard.sections import PageTable, Section
from nlhf.models.prompts import prompt_text
from nlhf.stats.bootstrap import Estimate
from nlhf.terminal import completion

if TYPE_CHECKING:
    from nlhf.arena.games import Arena
    from nlhf.arena.ranking import Ranking

MOST_PROMPTS, MOST_ITEMS = 12, 40


def write(folder: Path, ranking: Ranking, arena: Arena) -> Path:
    """Write folder/report.html and its figure; returns the page's path."""
    names = list(ranking.pooled.items)
    pictures = []
    if len(names) <= MOST_ITEMS:
        caption = "Mean over prompts, sorted by decreasing Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(names, ranking.pooled.preference, ranking.pooled.diagnosis, "P(row preferred to column)")
        pictures.append(Picture("win_rates", figure, caption))
    rows = [[names[k], *ranking.cells(k)] for k in ranking.order]
    setup = setup_of(arena)
    lines, title = [ranking.headline, *ranking.lines, setup], f"{folder.resolve().parent.name}/{folder.name}"
    return write_page(
        folder,
        "arena.html.jinja",
        [*pictures, *certificate_pictures(ranking.growth)],
        sections=_certificate(ranking),
        title=title,
        lines=lines,
        rows=rows,
        pairs=_pairs(ranking),
        answers=_answers(arena, [names[k] for k in ranking.order]),
        left_out=max(0, len(arena.rules.prompts) - MOST_PROMPTS),
    )


def setup_of(arena: Arena) -> str:
    """Prompts, completions and judge in words."""
    rules = arena.rules.card
    count = rules["completions"]
    completions = "1 completion" if count == 1 else f"{count} completions"
    return f"{len(rules['prompts'])} prompts, {completions} per contestant, judged by {arena.rules.judge_name}."


def ranking_of(ranking: Ranking, arena: Arena) -> ArenaRanking:
    """The ranking as other pages show it."""
    rows = [[str(rank), ranking.pooled.items[k], *ranking.cells(k)] for rank, k in enumerate(ranking.order, start=1)]
    return ArenaRanking(ranking.headline, setup_of(arena), rows)


def _certificate(ranking: Ranking) -> list[Section]:
    """What the verdicts prove, with the bounds of every contestant."""
    proof = ranking.proof
    if proof is None:
        return []
    rows = [
        [proof.items[k], *(f"{0.5 + part.items[k]:.3f}" for part in (proof.once, proof.anytime))]
        for k in np.argsort(proof.anytime.items, kind="stable")
    ]
    note = (
        "With 95% confidence for all contestants at once, no policy is preferred to the contestant with a probability "
        "above its bound."
    )
    table = PageTable(("contestant", "bound, one look", "bound, any time"), rows, note=note)
    return [Section("What is proved?", answer(proof), (), [table], ["certificate"])]


def _pairs(ranking: Ranking) -> list[list[str]]:
    """All pairs that have played, the clearest first."""
    names, preference = ranking.pooled.items, ranking.pooled.preference
    n = len(names)
    pairs = [
        (i, j)
        for i in range(n)
        for j in range(n)
        if ranking.games[i, j] and (preference[i, j], -i) > (preference[j, i], -j)
    ]
    pairs.sort(key=lambda pair: -float(preference[pair]))
    return [
        [
            names[i],
            names[j],
            str(Estimate(preference[i, j], ranking.low[i, j], ranking.high[i, j], ranking.games[i, j])),
            str(ranking.games[i, j]),
        ]
        for i, j in pairs
    ]


def _answers(arena: Arena, names: list[str]) -> list[dict[str, Any]]:
    """The first completion of each contestant on some prompts, with its mean win rate there."""
    won = arena.wins_by_prompt
    examples = []
    for number, prompt in enumerate(arena.rules.prompts[:MOST_PROMPTS]):
        entries = []
        for name in names:
            wins = [np.mean(won[name, other][number]) for other in names if number in won.get((name, other), {})]
            if texts := arena.texts.get((name, number)):
                share = f"{np.mean(wins):.2f}" if wins else "-"
                entries.append({"name": name, "text": completion(texts[0]), "share": share})
        examples.append({"prompt": prompt_text(prompt), "entries": entries})
    return examples

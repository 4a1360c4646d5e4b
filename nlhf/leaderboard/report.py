"""The page of a file of votes, and its CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nlhf.io.files import writing
from nlhf.leaderboard.answers import best_section, context_section, next_section, trust_section
from nlhf.leaderboard.certificate import pictures
from nlhf.leaderboard.sections import Section
from nlhf.leaderboard.summary import VotesSummary
from nlhf.leaderboard.tables import tables, write_tables

if TYPE_CHECKING:
    from nlhf.analysis.page import Picture

MOST_ITEMS = 40  # in a picture


def write(votes: VotesSummary, path: str, folder: Path) -> Path:
    """Write folder/report.html, its figures and its CSV files; returns the page's path.

    Raises: WriteError, which leaves earlier files unchanged.
    """
    from nlhf.analysis.page import write as write_page

    name, written = Path(path).name, tables(votes)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(written, folder)
    best, trust = _pictures_of_best(votes, name), pictures(votes.growth)
    sections = [
        best_section(votes, written, [picture.name for picture in best]),
        trust_section(votes, written, [picture.name for picture in trust]),
        next_section(votes, written, path),
    ]
    if votes.contexts:
        sections.append(context_section(votes, written))
    files = ", ".join(f"{table}.csv" for table in written)
    sections.append(Section("Files", lines=[f"Beside this page, with all digits: {files}."]))
    facts = [f"{votes.report.sentence}."] if votes.report else []
    return write_page(folder, "votes.html.jinja", [*best, *trust], title=name, lines=facts, sections=sections)


def answers(votes: VotesSummary, path: str) -> list[Section]:
    """The sections that answer the three questions, without pictures."""
    written = tables(votes)
    return [best_section(votes, written, []), trust_section(votes, written, []), next_section(votes, written, path)]


def _pictures_of_best(votes: VotesSummary, name: str) -> list[Picture]:
    from nlhf.analysis.figures.games import matrix
    from nlhf.analysis.figures.mixture import mixtures_by_beta_and_payoff
    from nlhf.analysis.figures.ratings import ratings
    from nlhf.analysis.page import Picture

    pooled, rated, drawn = votes.pooled, votes.ratings, []
    if rated and len(pooled.items) <= MOST_ITEMS:
        order = rated.order
        rows = ratings(
            [rated.items[k] for k in order], *(part[order] for part in (rated.ratings, rated.low, rated.high))
        )
        if rows:
            drawn.append(Picture("ratings", rows, "Bradley-Terry ratings with 95% intervals of each item, by rank."))
    if len(pooled.items) <= MOST_ITEMS:
        caption = "Sorted by decreasing Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(list(pooled.items), pooled.preference, pooled.diagnosis, name)
        drawn.append(Picture("preferences", figure, caption))
    if (sensitivity := pooled.sensitivity) is not None:
        caption = "Left: the equilibrium for other strengths of the KL term. Right: if something else is played for."
        figure = mixtures_by_beta_and_payoff(
            sensitivity.items, sensitivity.betas, sensitivity.by_beta, sensitivity.payoffs, sensitivity.by_payoff
        )
        drawn.append(Picture("sensitivity", figure, caption))
    return drawn

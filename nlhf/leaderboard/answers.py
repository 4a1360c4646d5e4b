"""The sections of the page of a file of votes: three questions of a reader, each with its answer first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nlhf.leaderboard.certificate import answer
from nlhf.leaderboard.nash import shares_text
from nlhf.leaderboard.proof import DELTA
from nlhf.leaderboard.sections import PageTable, Section
from nlhf.leaderboard.summary import VotesSummary
from nlhf.leaderboard.tables import Row, TidyTable
from nlhf.leaderboard.trust import notes, verdicts

BEST = "Who is best?"
MOST_ROWS = 200  # of a table of the page; the CSV files have all
Column = tuple[str, str, Callable[[Any], str]]  # of a tidy table, its title on the page, and how a value is shown


def _text(value: Any) -> str:
    return str(value)


def _share(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _points(value: float) -> str:
    return "-" if value != value else f"{value:.0f}"


def _probability(value: float) -> str:
    return f"{0.5 + value:.3f}"


ITEMS: tuple[Column, ...] = (
    ("rank_from", "rank, from", _text),
    ("rank_to", "to", _text),
    ("item", "item", _text),
    ("rating", "Elo rating (mean 1000)", _points),
    ("rating_low", "low", _points),
    ("rating_high", "high", _points),
    ("controlled_rating", "at equal style", _points),
    ("controlled_low", "low", _points),
    ("controlled_high", "high", _points),
    ("win_rate", "mean probability of being preferred", _share),
    ("share", "share in the Nash equilibrium", _share),
    ("smallest_share", "smallest in any", _share),
    ("largest_share", "largest in any", _share),
)
BOUNDS: tuple[Column, ...] = (
    ("item", "item", _text),
    ("bound_anytime", "bound, any time", _probability),
    ("bound_once", "bound, one look", _probability),
    ("share_from", "allowed share, from", _share),
    ("share_to", "to", _share),
)
CYCLES: tuple[Column, ...] = (
    ("item_a", "a", _text),
    ("item_b", "b", _text),
    ("item_c", "c", _text),
    ("a_over_b", "a over b", _share),
    ("b_over_c", "b over c", _share),
    ("c_over_a", "c over a", _share),
)
PAIRS: tuple[Column, ...] = (
    ("item_a", "a", _text),
    ("item_b", "b", _text),
    ("votes", "votes", lambda value: f"{value:g}"),
    ("share_a", "a over b", _share),
    ("low_once", "low, one look", _share),
    ("high_once", "high, one look", _share),
    ("low_anytime", "low, any time", _share),
    ("high_anytime", "high, any time", _share),
)
NEXT: tuple[Column, ...] = (("item_a", "a", _text), ("item_b", "b", _text), ("votes", "votes", _text))
CONTEXTS: tuple[Column, ...] = (
    ("context", "context", _text),
    ("votes", "votes", lambda value: f"{value:g}"),
    ("cyclic_triples", "cyclic triples", _text),
    ("cyclic_share", "cyclic share of |P - 1/2|²", lambda value: f"{value:.2f}"),
    ("condorcet_winner", "Condorcet winner", lambda value: value or "none"),
)


def best_section(votes: VotesSummary, tables: Mapping[str, TidyTable], pictures: Sequence[str]) -> Section:
    """Who is best?"""
    matrix = votes.pooled
    if matrix.winner:
        first = f"In these votes, {matrix.winner} is preferred to every other item by a majority."
    else:
        shares = shares_text(matrix.nash.shares, matrix.items)
        first = (
            "In these votes, no item is preferred to all others, and no item is preferred to the mixture of the Nash "
            f"equilibrium: {shares}."
        )
    names = [name for name, _, _ in ITEMS if name in tables["items"].columns]
    page_tables = [page_table(tables["items"], ITEMS, (names.index("item"),))]
    if "cycles" in tables:
        title = "Cycles of three: most of the votes prefer a to b, b to c, and c to a"
        page_tables.append(page_table(tables["cycles"], CYCLES, (0, 1, 2), title, folded=True))
    return Section(BEST, first, list(votes.best_lines), page_tables, pictures)


def trust_section(votes: VotesSummary, tables: Mapping[str, TidyTable], pictures: Sequence[str]) -> Section:
    """Can I trust it?"""
    page_tables, clusters = [], "clustered_" if votes.clustered else ""
    if votes.proof or votes.clustered:
        note = (
            f"With {1 - DELTA:.0%} confidence for all items at once, no policy is preferred to the item with a "
            "probability above its bound. The allowed shares are those in the equilibria of all preferences that the "
            "votes allow, with one look."
        )
        columns = [(clusters * (name != "item") + name, title, show) for name, title, show in BOUNDS]
        page_tables.append(
            page_table(tables["items"], columns, title="What the votes prove about every item", note=note)
        )
    title = "All pairs, with 95% intervals that hold for all of them at once" if votes.proof else "All pairs"
    title += ", of independent votes" * bool(votes.proof and votes.clustered)
    page_tables.append(page_table(tables["pairs"], PAIRS, (0, 1), title, folded=True))
    return Section(
        "Can I trust it?", _trust(votes), list(notes(votes)), page_tables, pictures, verdicts=list(verdicts(votes))
    )


def next_section(votes: VotesSummary, tables: Mapping[str, TidyTable], path: str) -> Section:
    """Which comparisons should I buy next?"""
    question = "Which comparisons should I buy next?"
    proof = votes.clustered or votes.proof
    if votes.next_pairs is None or proof is None:
        return Section(question, "There is no suggestion, as these votes have no certificate.")
    if proof.anytime.exploitability == 0:
        return Section(
            question,
            f"None: with {1 - DELTA:.0%} confidence, no policy is preferred to {proof.mixture(proof.anytime.policy)}.",
        )
    lines = [
        "The certificate of the best policy depends most on these pairs. Its bound at any time stays valid whatever "
        "was asked."
    ]
    table = page_table(tables["next"], NEXT, (0, 1), "The next votes", folded=True)
    if votes.proof is None:  # probabilities, of which no further ones can be asked for by the command
        return Section(question, votes.next_pairs.sentence, lines, [table])
    lines.append(
        "This command writes the pairs in a random order and estimates how many votes remain until a target; repeat it "
        "when answers were appended to the file:"
    )
    command = shlex.join(["nlhf", "votes", "ask", path, *votes.selection.options])
    return Section(question, votes.next_pairs.sentence, lines, [table], commands=[command])


def context_section(votes: VotesSummary, tables: Mapping[str, TidyTable]) -> Section:
    """The contexts, each with its equilibrium."""
    table = page_table(tables["contexts"], CONTEXTS, (0, 4, 5))
    mixtures = [context.mixture for context in votes.contexts[:MOST_ROWS]]
    rows = [[*row, mixture] for row, mixture in zip(table.rows, mixtures, strict=True)]
    return Section(
        "Contexts", tables=[PageTable([*table.columns, "Nash equilibrium"], rows, table.texts, "", table.note)]
    )


def _trust(votes: VotesSummary) -> str:
    """The certificate in one sentence."""
    proof = votes.clustered or votes.proof
    if proof is None:
        return (
            "Nothing is proved here, as these votes are probabilities without questions, or there are too many items."
        )
    return answer(proof)


def page_table(
    table: TidyTable,
    columns: Sequence[Column],
    texts: Sequence[int] = (0,),
    title: str = "",
    note: str = "",
    folded: bool = False,
) -> PageTable:
    """The columns of a tidy table that it has, as texts, up to MOST_ROWS rows."""
    present = [column for column in columns if column[0] in table.columns]
    rows = [_cells(row, present) for row in table.rows[:MOST_ROWS]]
    if len(table.rows) > MOST_ROWS:
        note = f"{note} {MOST_ROWS} of {len(table.rows)} rows; the CSV file has all.".strip()
    return PageTable([heading for _, heading, _ in present], rows, texts, title, note, folded)


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    return [show(row[name]) for name, _, show in columns]

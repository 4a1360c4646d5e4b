"""The numbers of a file of votes as tidy tables, which the CSV files hold and the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.io.files import replacing
from nlhf.leaderboard.matrix import Matrix
from nlhf.leaderboard.proof import Proof
from nlhf.leaderboard.summary import VotesSummary
from nlhf.records import cell, csv_line

Row = dict[str, Any]
NAMES = ("items", "pairs", "cycles", "mixture", "sensitivity", "certificate", "next", "contexts")


@dataclass(frozen=True)
class TidyTable:
    """Rows of one CSV file; None stands for a value that is not available."""

    columns: Sequence[str]
    rows: Sequence[Row]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> TidyTable:
        """Rows that all have the columns of the first one."""
        return cls(tuple(rows[0]) if rows else (), rows)

    def write(self, path: Path) -> None:
        """Write the table with full precision.

        Raises: WriteError, which leaves an earlier file unchanged.
        """
        with replacing(path) as stream:
            stream.write(csv_line(self.columns))
            stream.writelines(csv_line(cell(row[name]) for name in self.columns) for row in self.rows)


def tables(votes: VotesSummary) -> dict[str, TidyTable]:
    """The tables of NAMES that have rows, by name."""
    rows = {
        "items": item_rows(votes),
        "pairs": pair_rows(votes.pooled, votes.proof),
        "cycles": cycle_rows(votes.pooled),
        "mixture": [row for matrix in (votes.pooled, *votes.contexts) for row in mixture_rows(matrix)],
        "sensitivity": sensitivity_rows(votes.pooled),
        "certificate": certificate_rows(votes),
        "next": next_rows(votes),
        "contexts": [context_row(matrix) for matrix in votes.contexts],
    }
    return {name: TidyTable.of(rows[name]) for name in NAMES if rows[name]}


def write_tables(written: dict[str, TidyTable], folder: Path) -> None:
    """Write folder/NAME.csv for each table, and remove those of an earlier command that have no rows now."""
    for name in NAMES:
        if name in written:
            written[name].write(folder / f"{name}.csv")
        else:
            (folder / f"{name}.csv").unlink(missing_ok=True)


def item_rows(votes: VotesSummary) -> list[Row]:
    """A row for each item, by rank, or by decreasing Bradley-Terry score where items have no ratings."""
    matrix, rated, equal = votes.pooled, votes.ratings, votes.controlled
    n, scores = len(matrix.items), matrix.diagnosis.scores
    order = rated.order if rated else np.argsort(-scores, kind="stable")
    columns: dict[str, np.ndarray] = {}
    if rated:
        columns |= dict(zip(("rank_from", "rank_to"), rated.ranks, strict=True))
        columns |= {"rating": rated.ratings, "rating_low": rated.low, "rating_high": rated.high}
    if equal:
        columns |= {"controlled_rating": equal.ratings}
        columns |= dict(zip(("controlled_low", "controlled_high"), equal.ends, strict=True))
    columns |= {
        "score": scores,
        "win_rate": (matrix.preference.sum(1) - 0.5) / max(n - 1, 1),
        "share": matrix.nash.shares,
        "smallest_share": matrix.nash.smallest,
        "largest_share": matrix.nash.largest,
    }
    for name, proof in (("", votes.proof), ("clustered_", votes.clustered)):
        if proof:
            columns |= {f"{name}bound_once": proof.once.items, f"{name}bound_anytime": proof.anytime.items}
            if proof.once.shares is not None:
                columns |= dict(zip((f"{name}share_from", f"{name}share_to"), proof.once.shares, strict=True))
    return [{"item": matrix.items[k], **{name: values[k].item() for name, values in columns.items()}} for k in order]


def pair_rows(matrix: Matrix, proof: Proof | None) -> list[Row]:
    """A row for each pair with votes: P(a is preferred to b), with intervals that hold for all pairs at once."""
    number, ties = matrix.counts
    rows = []
    for i, j in combinations(range(len(matrix.items)), 2):
        if number[i, j]:
            row = {
                "item_a": matrix.items[i],
                "item_b": matrix.items[j],
                "votes": float(number[i, j]),
                "ties": float(ties[i, j]),
                "share_a": float(matrix.preference[i, j]),
            }
            for name, part in (("once", proof.once), ("anytime", proof.anytime)) if proof else ():
                row[f"low_{name}"] = float(0.5 + part.bounds.lower[i, j])
                row[f"high_{name}"] = float(0.5 + part.bounds.upper[i, j])
            rows.append(row)
    return rows


def cycle_rows(matrix: Matrix) -> list[Row]:
    """A row for each cyclic triple: a beats b, b beats c, and c beats a; the clearest first."""
    preference, rows = matrix.preference, []
    for triple in matrix.triples:
        i, j, k = triple
        shares = [float(preference[pair]) for pair in ((i, j), (j, k), (k, i))]
        names = dict(zip(("item_a", "item_b", "item_c"), (matrix.items[item] for item in triple), strict=True))
        rows.append(names | dict(zip(("a_over_b", "b_over_c", "c_over_a"), shares, strict=True)))
    return sorted(rows, key=lambda row: -min(row["a_over_b"], row["b_over_c"], row["c_over_a"]))


def mixture_rows(matrix: Matrix) -> list[Row]:
    """The equilibrium of one context, an item in each row, with the range over all equilibria and bootstrap samples."""
    nash, drawn = matrix.nash, matrix.mixtures
    return [
        {
            "context": matrix.name,
            "item": item,
            "share": float(nash.shares[k]),
            "smallest": float(nash.smallest[k]),
            "largest": float(nash.largest[k]),
            "low_bootstrap": None if drawn is None else float(drawn[0, k]),
            "high_bootstrap": None if drawn is None else float(drawn[1, k]),
        }
        for k, item in enumerate(matrix.items)
    ]


def sensitivity_rows(matrix: Matrix) -> list[Row]:
    """The equilibrium for other strengths of regularisation and other payoffs, an item in each row."""
    sensitivity = matrix.sensitivity
    if sensitivity is None:
        return []
    settings = [("linear", beta, shares) for beta, shares in zip(sensitivity.betas, sensitivity.by_beta, strict=True)]
    settings += [
        (payoff, 0.0, shares) for payoff, shares in zip(sensitivity.payoffs[1:], sensitivity.by_payoff[1:], strict=True)
    ]
    return [
        {"payoff": payoff, "beta": beta, "item": item, "share": float(share)}
        for payoff, beta, shares in settings
        for item, share in zip(sensitivity.items, shares, strict=True)
    ]


def certificate_rows(votes: VotesSummary) -> list[Row]:
    """The certified exploitability of the best policy after the first observations."""
    growth = votes.growth
    if growth is None:
        return []
    numbers = zip(growth.numbers, growth.once, growth.anytime, strict=True)
    return [{"unit": growth.unit, "number": k, "once": once, "anytime": anytime} for k, once, anytime in numbers]


def next_rows(votes: VotesSummary) -> list[Row]:
    """The pairs to vote on next, with the number of votes."""
    pairs = votes.next_pairs.pairs if votes.next_pairs else []
    return [{"item_a": a, "item_b": b, "votes": number} for a, b, number in pairs]


def context_row(matrix: Matrix) -> Row:
    """What one context shows."""
    return {
        "context": matrix.name,
        "votes": matrix.votes,
        "cyclic_triples": len(matrix.triples),
        "cyclic_share": float(matrix.diagnosis.cyclic),
        "condorcet_winner": matrix.winner,
    }

"""The table of the items of a file of votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from nlhf.leaderboard.summary import VotesSummary

MOST = 200  # items in the terminal


def ratings_table(summary: VotesSummary) -> Table | None:
    """The items by rank: rating, win rate, share in the equilibrium and bounds; None if there are no ratings."""
    from rich.table import Table

    rated, pooled, equal = summary.ratings, summary.pooled, summary.controlled
    proof = summary.clustered or summary.proof
    if rated is None:
        return None
    n = len(rated.items)
    columns = {
        "rank": [_range(*rank) for rank in rated.ranks.T],
        "item": list(rated.items),
        "Elo rating (mean 1000)": [_rating(*entry) for entry in zip(rated.ratings, rated.low, rated.high, strict=True)],
    }
    if equal:
        title = f"at equal {', '.join(equal.names)}"
        columns[title] = [_rating(*entry) for entry in zip(equal.ratings, *equal.ends, strict=True)]
    columns["mean win rate"] = [f"{rate:.3f}" for rate in (pooled.preference.sum(1) - 0.5) / (n - 1)]
    columns["equilibrium share"] = [f"{share:.3f}" for share in pooled.nash.shares]
    if proof:
        bounds = {"bound at any time": proof.anytime.items, "bound at one look": proof.once.items}
        columns |= {title: [f"{0.5 + bound:.3f}" for bound in values] for title, values in bounds.items()}
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title, cells in columns.items():
        width = max(map(len, [*cells, *title.split()]))
        if title == "item":  # names may be long, and are folded
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify="right", width=width)
    for k in rated.order[:MOST]:
        table.add_row(*(cells[k] for cells in columns.values()))
    if n > MOST:
        table.caption = f"The first {MOST} of {n} items."
    return table


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def _rating(value: float, low: float, high: float) -> str:
    """`1042 [1001, 1083]`."""
    return _points(value) + ("" if np.isnan(low) else f" [{_points(low)}, {_points(high)}]")


def _points(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if np.isfinite(value) else "∞" if value > 0 else "−∞"

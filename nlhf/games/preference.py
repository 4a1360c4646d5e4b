"""Matrices of preference probabilities and their checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.stats.vote_clusters import Clusters

COMPLEMENTARY = 1e-6  # by how much P + P^T may differ from 1


@dataclass(frozen=True)
class PreferenceTable:
    """Preference probabilities P(row > column | context), shape (X, n, n), with the names of items and contexts.

    `features` of contexts, if there are any, have shape (X, d). The last `held_out` contexts are for testing only.

    If P comes from counted votes, `votes` (2, X, n, n) has the number of votes and of ties on each pair, and `wins`
    (X, n, n) the wins of the row, with ties as half wins and with pseudo-votes: the data to fit a model of the votes.
    `clusters` has the votes of each voter or question, if there is one context.
    """

    preference: np.ndarray
    items: tuple[str, ...]
    contexts: tuple[str, ...]
    features: np.ndarray | None = None
    votes: np.ndarray | None = None
    wins: np.ndarray | None = None
    clusters: Clusters | None = None
    held_out: int = 0


def antisymmetric(upper: np.ndarray) -> np.ndarray:
    """Preference probabilities (X, n, n) from those above the diagonal: 1/2 on it, complements below."""
    below = np.tril(1 - upper.swapaxes(1, 2), k=-1)
    return np.asarray(np.triu(upper, k=1) + below + 0.5 * np.eye(upper.shape[1]))


def check_preference(preference: np.ndarray, source: str, note: str = "") -> np.ndarray:
    """An array (n, n) or (X, n, n) of preference probabilities as (X, n, n) float64.

    Args:
        preference: the array.
        source: its name in messages.
        note: ends the message about P + P^T.

    Raises: ConfigError for a wrong shape, one item only, entries that are not numbers in [0, 1], or P + P^T != 1
    (tolerance 1e-6, as tables are printed with few digits).
    """
    table = np.asarray(preference)
    if table.dtype.kind not in "fiu":
        raise ConfigError(f"{source} holds {table.dtype}, not numbers: give preference probabilities in [0, 1].")
    table = np.array(table, dtype=np.float64, ndmin=3)
    if table.ndim != 3 or table.shape[1] != table.shape[2] or 0 in table.shape:
        raise ConfigError(f"{source} has shape {np.shape(preference)}: give a square matrix (n, n), or (X, n, n).")
    if table.shape[1] == 1:
        raise ConfigError(f"{source} has one item only, and nothing to prefer it to: give at least two.")
    for problem, wrong in (
        ("is not a number", ~np.isfinite(table)),
        ("is outside [0, 1]", (table < 0) | (table > 1)),
        ("and its opposite do not sum to 1", np.abs(table + table.swapaxes(1, 2) - 1) > COMPLEMENTARY),
    ):
        if wrong.any():
            where = tuple(int(index) for index in np.argwhere(wrong)[0])
            entry = where[1:] if table.shape[0] == 1 else where
            raise ConfigError(
                f"{source}: entry {list(entry)} = {table[where]:g} {problem}: entries are probabilities that the row "
                f"is preferred to the column, with P + P^T = 1{note if 'sum' in problem else ''}."
            )
    return table

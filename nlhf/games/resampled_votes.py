"""Bootstrap samples of votes, and of clusters of votes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.votes.file import Vote


def resampled(votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many votes on every pair, drawn from its votes with replacement.

    Args:
        votes: wins, losses and ties of the row against the column, (3, contexts, items, items).
        rng: draws them.

    Raises: ConfigError for parts of votes.
    """
    if (votes % 1).any():
        raise ConfigError("game.bootstrap=true needs whole votes and ties (0.5 and 0.5): this file has other parts.")
    upper = np.triu_indices(votes.shape[-1], k=1)
    cast = np.moveaxis(votes[:, :, upper[0], upper[1]], 0, -1)  # (contexts, pairs, 3)
    number = cast.sum(-1, keepdims=True)
    drawn = rng.multinomial(number[..., 0].astype(int), np.where(number > 0, cast / np.maximum(number, 1), 1 / 3))
    sample = np.zeros_like(votes)
    sample[:, :, upper[0], upper[1]] = np.moveaxis(drawn, -1, 0)
    sample[:, :, upper[1], upper[0]] = np.moveaxis(drawn[..., [1, 0, 2]], -1, 0)
    return sample


def times_drawn(votes: Sequence[Vote], columns: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """How often each vote is in a sample of whole clusters that these columns name; once if there are none."""
    if not columns:
        return np.ones(len(votes))
    names = [tuple(vote.cells[column] for column in columns) for vote in votes]
    clusters = {name: number for number, name in enumerate(dict.fromkeys(names))}
    drawn = rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)))
    return np.asarray(drawn[[clusters[name] for name in names]])

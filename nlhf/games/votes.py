"""Games of votes: a tidy CSV of pairwise counts, read by `nlhf.votes.file`.

P(a > b) = (wins of a over b + c) / (votes on the pair + 2c) with the pseudo-count c, with ties as half wins,
summed over all rows of the pair (per context, if there are context columns).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED, GameFamily
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.io.inputs import InputFile
from nlhf.votes.clusters import clusters_of
from nlhf.votes.comparisons import warn_of_groups
from nlhf.votes.file import COLUMNS, MOST_VOTES, TIES, Vote, context_name, read_votes


@dataclass(frozen=True)
class Votes(GameFamily):
    """Preference probabilities from counted votes.

    Args:
        path: the CSV file.
        context: columns whose combined values name the context; [] pools all votes.
        where: column -> value, or list of values, that a row must have; null for all rows. Numbers match by value.
        drop: items to leave out.
        pseudo_count: votes added to both sides of every pair with votes, >= 0.
        unseen: for pairs without votes: P = 1/2 (`half`), drop items until no such pair is left (`drop_item`), or
            `refuse`.
        cluster: columns whose combined values name a voter or a question whose votes may be alike; [] takes votes as
            independent.
        bootstrap: resample the votes of every pair, or whole clusters, with replacement, one game per seed.
    """

    path: InputFile | None
    context: list[str]
    where: dict[str, str | int | float | bool | list[str | int | float | bool]] | None
    drop: list[str]
    pseudo_count: float
    unseen: Literal["half", "drop_item", "refuse"]
    cluster: list[str]
    bootstrap: bool

    def __post_init__(self) -> None:
        if not 0 <= self.pseudo_count <= MOST_VOTES:
            raise ConfigError(f"game.pseudo_count={self.pseudo_count} is out of range: give 0 to 2^53 votes.")
        for key, names in (("context", self.context), ("cluster", self.cluster)):
            if counts := [name for name in names if name in (*COLUMNS[2:], TIES)]:
                raise ConfigError(f"game.{key}={counts[0]} counts votes: name columns that do not.")

    @property
    def random(self) -> bool:
        return self.bootstrap

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if len(self._items) <= STRUCTURED:
            return None
        if self.bootstrap or self.unseen != "half":
            raise ConfigError(
                f"game.path={self.path} has more than {STRUCTURED} items, too many to list all pairs: "
                "set game.bootstrap=false game.unseen=half, or drop items."
            )
        self._warn()
        return self._sparse()

    def _sparse(self) -> FiniteGame:
        """The game that stores only the pairs with votes."""
        from nlhf.games.sparse import SparseGame

        index = {item: number for number, item in enumerate(self._items)}
        counts: dict[tuple[int, int, int], list[float]] = {}
        for vote in self._votes:
            i, j, x = index[vote.a], index[vote.b], self._contexts[self._context(vote)]
            counted = counts.setdefault((x, min(i, j), max(i, j)), [0.0, 0.0])
            counted[i > j] += vote.wins_a
            counted[i < j] += vote.wins_b
        c = self.pseudo_count
        shares = {
            pair: (wins + c) / (wins + losses + 2 * c) for pair, (wins, losses) in counts.items() if wins + losses
        }
        return SparseGame.of(shares, self._context_names, self._items)

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        self._warn()
        index = {item: number for number, item in enumerate(self._items)}
        votes = np.zeros((3, len(self._contexts), len(index), len(index)))  # wins, losses, ties of row against column
        times = self._times_drawn(rng) if self.bootstrap and self.cluster else np.ones(len(self._votes))
        for vote, number in zip(self._votes, times, strict=True):
            i, j, x = index[vote.a], index[vote.b], self._contexts[self._context(vote)]
            counts = number * np.array([vote.wins_a - vote.ties / 2, vote.wins_b - vote.ties / 2, vote.ties])
            votes[:, x, i, j] += counts
            votes[:, x, j, i] += counts[[1, 0, 2]]
        if self.bootstrap and not self.cluster:
            votes = self._resampled(votes, rng)
        table = self._preferences(votes[0] + votes[2] / 2, votes[2], self._items, self._context_names)
        if self.bootstrap or not self.cluster or len(table.contexts) > 1 or table.items != self._items:
            return table
        return replace(table, clusters=clusters_of(self._votes, table.items, self.cluster))

    def _preferences(
        self, wins: np.ndarray, ties: np.ndarray, items: tuple[str, ...], contexts: tuple[str, ...]
    ) -> PreferenceTable:
        total = wins + wins.swapaxes(1, 2)
        unseen = (total == 0) & ~np.eye(len(items), dtype=bool)
        if unseen.any() and self.unseen == "refuse":
            x, i, j = np.argwhere(unseen)[0]
            raise ConfigError(
                f"game.path={self.path} has no vote on {items[i]} against {items[j]} in context {contexts[x]} "
                f"(such pairs: {int(unseen.sum()) // 2}): set game.unseen=half or game.unseen=drop_item."
            )
        remaining = np.arange(len(items))
        while self.unseen == "drop_item" and unseen[:, remaining][:, :, remaining].any():
            missing = unseen[:, remaining][:, :, remaining].sum((0, 2))
            remaining = np.delete(remaining, missing.argmax())
            if len(remaining) < 2:
                raise ConfigError("game.unseen=drop_item leaves fewer than two items: set game.unseen=half.")
        with np.errstate(invalid="ignore"):
            preference = (wins + self.pseudo_count) / (total + 2 * self.pseudo_count)
        preference = np.where(total == 0, 0.5, preference)[:, remaining][:, :, remaining]
        votes = np.stack([total, ties])[:, :, remaining][..., remaining]
        counted = np.where(total > 0, wins + self.pseudo_count, 0.0)[:, remaining][:, :, remaining]
        return PreferenceTable(preference, tuple(items[k] for k in remaining), contexts, votes=votes, wins=counted)

    def _resampled(self, votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A bootstrap sample: as many votes on every pair, drawn from its votes with replacement."""
        if (votes % 1).any():
            raise ConfigError(
                "game.bootstrap=true needs whole votes and ties (0.5 and 0.5): this file has other parts."
            )
        upper = np.triu_indices(votes.shape[-1], k=1)
        cast = np.moveaxis(votes[:, :, upper[0], upper[1]], 0, -1)  # (X, pairs, 3)
        number = cast.sum(-1, keepdims=True)
        drawn = rng.multinomial(number[..., 0].astype(int), np.where(number > 0, cast / np.maximum(number, 1), 1 / 3))
        resampled = np.zeros_like(votes)
        resampled[:, :, upper[0], upper[1]] = np.moveaxis(drawn, -1, 0)
        resampled[:, :, upper[1], upper[0]] = np.moveaxis(drawn[..., [1, 0, 2]], -1, 0)
        return resampled

    def _times_drawn(self, rng: np.random.Generator) -> np.ndarray:
        """How often each row is in a bootstrap sample of whole clusters."""
        names = [tuple(vote.cells[column] for column in self.cluster) for vote in self._votes]
        clusters = {name: number for number, name in enumerate(dict.fromkeys(names))}
        drawn = rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)))
        return np.asarray(drawn[[clusters[name] for name in names]])

    @cached_property
    def _votes(self) -> list[Vote]:
        """Every row that passes the filters."""
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE, a CSV with item_a,item_b,wins_a,wins_b.")
        return read_votes(self.path, self.context, self.where, self.drop, self.cluster)

    def _warn(self) -> None:
        """Warn once about items that the votes do not compare."""
        return self._warned

    @cached_property
    def _warned(self) -> None:
        if self.unseen == "half" and self.path is not None:
            pairs: dict[str, set[tuple[str, str]]] = {name: set() for name in self._context_names}
            for vote in self._votes:
                if vote.wins_a + vote.wins_b:
                    pairs[context_name(self._context(vote))].add((vote.a, vote.b))
            warn_of_groups(self.path.name, self._items, pairs)

    @cached_property
    def _items(self) -> tuple[str, ...]:
        """Item names in natural order."""
        return tuple(sorted({item for vote in self._votes for item in (vote.a, vote.b)}, key=_natural))

    @cached_property
    def _contexts(self) -> dict[tuple[str, ...], int]:
        """The index of each context by its cells, in natural order."""
        cells = {self._context(vote) for vote in self._votes}
        ordered = sorted(cells, key=lambda context: [_natural(cell) for cell in context])
        return {context: index for index, context in enumerate(ordered)}

    def _context(self, vote: Vote) -> tuple[str, ...]:
        return tuple(vote.cells[column] for column in self.context)

    @property
    def _context_names(self) -> tuple[str, ...]:
        return tuple(context_name(context) for context in self._contexts)

    def cast(self) -> list[Vote]:
        """Every row that passes the filters.

        Raises: ConfigError for an invalid row, filter or item.
        """
        return list(self._votes)


def _natural(name: str) -> list[tuple[int, float, str]]:
    """A sort key: numbers by value and before texts; the parts between slashes one by one."""
    return [(0, float(p), p) if p.replace(".", "", 1).isdecimal() else (1, 0.0, p) for p in name.split("/")]

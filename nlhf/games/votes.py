"""Games of votes: counts of pairwise votes from a file, read by `nlhf.votes.read`.

P(a > b) = (wins of a over b + c) / (votes on the pair + 2c) with the pseudo-count c, with ties as half wins,
summed over all rows of the pair (per context, if there are context columns).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED
from nlhf.games.competitive import CompetitiveFamily
from nlhf.games.counts import Counts, Unseen
from nlhf.games.preference import PreferenceTable
from nlhf.games.protocol import FiniteGame
from nlhf.games.resampled_votes import resampled, times_drawn
from nlhf.games.voter_rankings import competition
from nlhf.io.inputs import InputFile
from nlhf.votes.clusters import clusters_of
from nlhf.votes.comparisons import natural_key, warn_of_groups
from nlhf.votes.file import COLUMNS, MOST_VOTES, TIES, Vote, context_name
from nlhf.votes.formats.base import BothBad
from nlhf.votes.read import Selection, read_votes, warn_of_unused
from nlhf.votes.table import Report


@dataclass(frozen=True)
class Votes(CompetitiveFamily):
    """Preference probabilities from counted votes.

    Args:
        path: the file, in a format of docs/formats.md.
        context: columns whose combined values name the context; [] pools all votes.
        where: column -> value, or list of values, that a row must have; null for all rows. Numbers match by value.
        drop: items to leave out.
        pseudo_count: votes added to both sides of every pair with votes, >= 0.
        unseen: for pairs without votes: P = 1/2 (`half`), drop items until no such pair is left (`drop_item`), or
            `refuse`.
        cluster: columns whose combined values name a voter or a question whose votes may be alike; [] takes votes as
            independent.
        bootstrap: resample the votes of every pair, or whole clusters, with replacement, one game per seed.
        columns: the file's own names of columns, as {item_a: left}; null if it has those of its format.
        both_bad: a vote that both items are bad is a tie, or dropped.
        competitors: k, for the game against k competitors: the voters that `cluster` names, with votes on all pairs,
            pick their best among k + 1 items (nlhf/games/competition.py). null compares pairs.
    """

    path: InputFile | None
    context: list[str]
    where: dict[str, str | int | float | bool | list[str | int | float | bool]] | None
    drop: list[str]
    pseudo_count: float
    unseen: Unseen
    cluster: list[str]
    bootstrap: bool
    columns: dict[str, str] | None = None
    both_bad: BothBad = "tie"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pseudo_count <= MOST_VOTES:
            raise ConfigError(f"game.pseudo_count={self.pseudo_count} is out of range: give 0 to 2^53 votes.")
        for key, names in (("context", self.context), ("cluster", self.cluster)):
            if counts := [name for name in names if name in (*COLUMNS[2:], TIES)]:
                raise ConfigError(f"game.{key}={counts[0]} counts votes: name columns that do not.")
        if self.competitors is not None and (not self.cluster or self.context or self.unseen != "half"):
            raise ConfigError(
                f"game.competitors={self.competitors} needs the rankings of voters: name their column in game.cluster, "
                "and set game.context=[] game.unseen=half."
            )

    @property
    def random(self) -> bool:
        return self.bootstrap

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if self.competitors is not None:
            self._warn()
            drawn = streams if self.bootstrap else []
            return competition(self._votes, self._items, self.cluster, self.competitors, drawn)
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
        times = times_drawn(self._votes, self.cluster if self.bootstrap else [], rng)
        for vote, number in zip(self._votes, times, strict=True):
            i, j, x = index[vote.a], index[vote.b], self._contexts[self._context(vote)]
            counts = number * np.array([vote.wins_a - vote.ties / 2, vote.wins_b - vote.ties / 2, vote.ties])
            votes[:, x, i, j] += counts
            votes[:, x, j, i] += counts[[1, 0, 2]]
        if self.bootstrap and not self.cluster:
            votes = resampled(votes, rng)
        counts = Counts(votes[0] + votes[2] / 2, votes[2], self._items, self._context_names)
        table = counts.preferences(self.unseen, self.pseudo_count, f"game.path={self.path}")
        if self.bootstrap or not self.cluster or len(table.contexts) > 1 or table.items != self._items:
            return table
        return replace(table, clusters=clusters_of(self._votes, table.items, self.cluster))

    @property
    def _votes(self) -> list[Vote]:
        """The votes that pass the filters."""
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[list[Vote], Report | None]:
        return self._cast()

    @property
    def report(self) -> Report | None:
        """Which rows of the file are not used; None for tidy votes, which use every row."""
        return self._read[1]

    def _cast(self, every_row: bool = False) -> tuple[list[Vote], Report | None]:
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE, as a CSV with item_a,item_b,wins_a,wins_b.")
        chosen = Selection(self.context, self.where or {}, self.drop, self.cluster, self.columns or {}, self.both_bad)
        return read_votes(self.path, chosen, every_row)

    def _warn(self) -> None:
        """Warn once about rows that are not used, and about items that the votes do not compare."""
        return self._warned

    @cached_property
    def _warned(self) -> None:
        if self.report:
            warn_of_unused(self.report)
        if self.unseen == "half":
            pairs: dict[str, set[tuple[str, str]]] = {name: set() for name in self._context_names}
            for vote in self._votes:
                if vote.wins_a + vote.wins_b:
                    pairs[context_name(self._context(vote))].add((vote.a, vote.b))
            warn_of_groups(f"game.path={self.path}", self._items, pairs)

    @cached_property
    def _items(self) -> tuple[str, ...]:
        """Item names in natural order."""
        return tuple(sorted({item for vote in self._votes for item in (vote.a, vote.b)}, key=natural_key))

    @cached_property
    def _contexts(self) -> dict[tuple[str, ...], int]:
        """The index of each context by its cells, in natural order."""
        cells = {self._context(vote) for vote in self._votes}
        ordered = sorted(cells, key=lambda context: [natural_key(cell) for cell in context])
        return {context: index for index, context in enumerate(ordered)}

    def _context(self, vote: Vote) -> tuple[str, ...]:
        return tuple(vote.cells[column] for column in self.context)

    @property
    def _context_names(self) -> tuple[str, ...]:
        return tuple(context_name(context) for context in self._contexts)

    def cast(self) -> list[Vote]:
        """A vote for every row that passes the filters, with the cells of its question and voter.

        Raises: ConfigError for an invalid row, filter or item.
        """
        return self._cast(every_row=True)[0]

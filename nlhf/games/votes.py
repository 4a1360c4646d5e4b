"""Games of votes: a tidy CSV of pairwise counts, `item_a,item_b,wins_a,wins_b`, a tie being half a win for each.

P(a > b) = (wins of a over b + c) / (votes on the pair + 2c) with the pseudo-count c, summed over all rows of the pair
(per context, if there are context columns). Other columns may be filtered on, and are summed over otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import STRUCTURED, FiniteGame, GameFamily, PreferenceTable
from nlhf.inputs import InputFile

Row = tuple[str, str, str, float, float]  # context, both items, both counts
COLUMNS = ("item_a", "item_b", "wins_a", "wins_b")


@dataclass(frozen=True)
class Votes(GameFamily):
    """Preference probabilities from counted votes.

    Args:
        path: the CSV file.
        context: columns whose combined values are the contexts; [] pools all votes.
        where: column -> value, or list of values, that a row must have; null for all rows.
        drop: items to leave out.
        pseudo_count: votes added to both sides of every pair with votes, >= 0.
        unseen: what to do where a pair has no vote: 1/2 (`half`), leave out items until none is missing (`drop_item`),
            or `refuse`.
        bootstrap: resample the votes of every pair with replacement, one game per seed.
    """

    path: InputFile | None
    context: list[str]
    where: dict[str, str | float | bool | list[str | float | bool]] | None
    drop: list[str]
    pseudo_count: float
    unseen: Literal["half", "drop_item", "refuse"]
    bootstrap: bool

    def __post_init__(self) -> None:
        if not 0 <= self.pseudo_count < float("inf"):
            raise ConfigError(f"game.pseudo_count={self.pseudo_count} is no count: give 0 or more votes.")

    @property
    def random(self) -> bool:
        return self.bootstrap

    def structured(self, streams: list[np.random.Generator]) -> FiniteGame | None:
        if len({item for row in self._rows for item in row[1:3]}) <= STRUCTURED:
            return None
        if self.bootstrap or self.unseen != "half":
            raise ConfigError(f"game.path={self.path} has more than {STRUCTURED} items, too many to list all pairs: "
                              "set game.bootstrap=false game.unseen=half, or drop items.")  # fmt: skip
        return self._sparse(self._rows)

    def _sparse(self, rows: list[Row]) -> FiniteGame:
        """The game of those pairs that have votes."""
        from nlhf.games.sparse import SparseGame

        contexts, items = _names(rows)
        index, where = ({name: number for number, name in enumerate(names)} for names in (items, contexts))
        counts: dict[tuple[int, int, int], list[float]] = {}
        for context, a, b, wins_a, wins_b in rows:
            i, j, x = index[a], index[b], where[context]
            counted = counts.setdefault((x, min(i, j), max(i, j)), [self.pseudo_count, self.pseudo_count])
            counted[i > j] += wins_a
            counted[i < j] += wins_b
        shares = {pair: mine / (mine + other) for pair, (mine, other) in counts.items() if mine + other > 0}
        return SparseGame.of(shares, tuple(contexts), tuple(items))

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        rows = self._rows
        contexts, items = _names(rows)
        index = {item: number for number, item in enumerate(items)}
        where = {context: number for number, context in enumerate(contexts)}
        votes = np.zeros((3, len(contexts), len(items), len(items)))  # wins, losses, ties of row against column
        for context, a, b, wins_a, wins_b in rows:
            i, j, x = index[a], index[b], where[context]
            tie = 1.0 if wins_a % 1 == wins_b % 1 == 0.5 else 0.0
            counts = np.array([wins_a - tie / 2, wins_b - tie / 2, tie])
            votes[:, x, i, j] += counts
            votes[:, x, j, i] += counts[[1, 0, 2]]
        if self.bootstrap:
            votes = self._resampled(votes, rng)
        return self._preferences(votes[0] + votes[2] / 2, votes[2], tuple(items), tuple(contexts))

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
        kept = np.arange(len(items))
        while self.unseen == "drop_item" and unseen[:, kept][:, :, kept].any():
            missing = unseen[:, kept][:, :, kept].sum((0, 2))
            kept = np.delete(kept, missing.argmax())
            if len(kept) < 2:
                raise ConfigError("game.unseen=drop_item leaves fewer than two items: set game.unseen=half.")
        with np.errstate(invalid="ignore"):
            preference = (wins + self.pseudo_count) / (total + 2 * self.pseudo_count)
        preference = np.where(total == 0, 0.5, preference)[:, kept][:, :, kept]
        votes = np.stack([total, ties])[:, :, kept][..., kept]
        counted = np.where(total > 0, wins + self.pseudo_count, 0.0)[:, kept][:, :, kept]
        return PreferenceTable(preference, tuple(items[k] for k in kept), contexts, votes=votes, wins=counted)

    def _resampled(self, votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """As many votes on every pair, drawn from those that were cast on it."""
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

    @cached_property
    def _rows(self) -> list[Row]:
        """Context, both items and both counts of every row that passes the filters."""
        return [("/".join(record[name] for name in self.context) or "all", *vote) for record, vote in self.cast()]

    def cast(self) -> list[tuple[dict[str, str], tuple[str, str, float, float]]]:
        """Every row that passes the filters: its cells by column; both items and both counts.

        Raises: ConfigError for a row, a filter or an item that cannot be.
        """
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE, a CSV with item_a,item_b,wins_a,wins_b.")
        (_, columns), *records = self.path.rows() or [(0, [])]
        self._check_columns(columns)
        allowed = {name: {_text(v) for v in (value if isinstance(value, list) else [value])}
                   for name, value in (self.where or {}).items()}  # fmt: skip
        rows, items = [], set()
        for number, cells in records:
            if len(cells) != len(columns):
                lacks = f"lacks {columns[len(cells)]}" if len(cells) < len(columns) else f"has {len(cells)} cells"
                raise ConfigError(f"game.path={self.path}: row {number} {lacks}: mend or remove it.")
            record = dict(zip(columns, cells, strict=True))
            if any(record[name] not in values for name, values in allowed.items()):
                continue
            vote = self._checked(record, number)
            items |= set(vote[:2])
            if vote[0] not in self.drop and vote[1] not in self.drop:
                rows.append((record, vote))
        if unknown := [item for item in self.drop if item not in items]:
            raise ConfigError(f"game.drop={unknown[0]} is no item of {self.path}: it has {', '.join(sorted(items))}.")
        if not rows:
            raise ConfigError(f"game.path={self.path} has no vote left: loosen game.where or game.drop.")
        return rows

    def _check_columns(self, columns: Sequence[str]) -> None:
        for key, names in (("game.path", COLUMNS), ("game.context", self.context), ("game.where", self.where or {})):
            for name in names:
                if name not in columns:
                    wanted = f"{key}={self.path} lacks" if key == "game.path" else f"{key}={name}: {self.path} lacks"
                    raise ConfigError(f"{wanted} the column {name}: it has {', '.join(columns) or 'none'}.")

    def _checked(self, record: dict[str, str], number: int) -> tuple[str, str, float, float]:
        place = f"game.path={self.path}: row {number}"
        a, b = record["item_a"], record["item_b"]
        if not a or not b or a == b:
            raise ConfigError(f"{place} compares {a!r} with {b!r}: name two different items.")
        counts = []
        for name in ("wins_a", "wins_b"):
            try:
                count = float(record[name])
            except (TypeError, ValueError):
                raise ConfigError(f"{place} has {name}={record[name]!r}, not a number: mend or remove it.") from None
            if not 0 <= count < float("inf"):
                raise ConfigError(f"{place} has {name}={record[name]}: counts are finite and not negative.")
            counts.append(count)
        return a, b, counts[0], counts[1]


def _text(value: str | float | bool) -> str:
    """A filter's value as the file would write it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _names(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Contexts and items, as people sort them."""
    return (sorted({row[0] for row in rows}, key=_natural),
            sorted({item for row in rows for item in row[1:3]}, key=_natural))  # fmt: skip


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort numbers by value, before texts; the parts of a combined context one after the other."""
    return [(0, float(p), p) if p.replace(".", "", 1).isdecimal() else (1, 0.0, p) for p in name.split("/")]

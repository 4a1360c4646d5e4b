"""Weights of items from a file, matched by name: CSV with `item,weight` or `context,item,weight`, npz, npy, or numbers.

Numbers without names are assigned in the order of the game's items (sorted, in a game of votes), with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.io.tables import check_unique, listed, named_rows, number

log = logging.getLogger(__name__)

REMEDY = "give the columns item,weight, or context,item,weight"


class Named(Protocol):
    """What has named items in named contexts, such as a game."""

    @property
    def items(self) -> Sequence[str]:
        """n names."""

    @property
    def contexts(self) -> Sequence[str]:
        """X names."""


def read_weights(file: InputFile, game: Named) -> np.ndarray:
    """The weights of a game's items, (n), (1, n), (n, 1) or (X, n); their sign and size are not checked.

    Raises: ConfigError for a file that cannot be read, and for items that are missing, unknown or given twice.
    """
    if file.suffix == ".npz":
        return _from_npz(file, game)
    if file.suffix == ".npy":
        array = (file.arrays() or {}).get("")
        if array is None or array.dtype.kind not in "fiu":
            raise ConfigError(f"{file.name} is not an array of numbers: save one with numpy.save.")
        return _unnamed(array.astype(np.float64), file, game)
    rows = file.rows()
    if rows and {"item", "weight"} & {cell.strip() for cell in rows[0][1]}:
        return _from_table(file, game)
    return _unnamed(_numbers(rows, file), file, game)


def _unnamed(weights: np.ndarray, file: InputFile, game: Named) -> np.ndarray:
    first = f"{', '.join(game.items[:3])}{', ...' if len(game.items) > 3 else ''}"
    log.warning(
        "%s names no items: its weights are taken in the order of the game's items, %s; to match them by name, %s",
        file.name,
        first,
        REMEDY,
    )
    return weights


def _numbers(rows: Sequence[tuple[int, list[str]]], file: InputFile) -> np.ndarray:
    table: list[list[float]] = []
    for line, row in rows:
        values = [number(cell) for cell in row]
        if None in values:
            raise ConfigError(
                f"{file.name}: row {line} has {row[values.index(None)]!r}, not a number: mend it, or {REMEDY}."
            )
        if table and len(row) != len(table[0]):
            raise ConfigError(f"{file.name}: row {line} has another length than the first: mend it.")
        table.append([value for value in values if value is not None])
    return np.array(table)


def _from_table(file: InputFile, game: Named) -> np.ndarray:
    """Weights (X, n) of a CSV with named columns; without a column `context` they serve all contexts."""
    rows = named_rows(file)
    if not {"item", "weight"} <= set(rows.columns) <= {"context", "item", "weight"}:
        raise ConfigError(f"{file.name} has the columns {listed(rows.columns)}: {REMEDY}.")
    by_context = "context" in rows.columns
    contexts = _numbered(game.contexts) if by_context else {"": 0}
    items = _numbered(game.items)
    weights = np.full((len(contexts), len(items)), np.nan)
    lines: dict[tuple[int, int], int] = {}
    for line, record in rows.records:
        source = f"{file.name}: row {line}"
        x = _index(contexts, record["context"], "context", source) if by_context else 0
        y = _index(items, record["item"], "item", source)
        if (x, y) in lines:
            raise ConfigError(
                f"{file.name}: rows {lines[x, y]} and {line} both give a weight for {record['item']}"
                f"{_in(record.get('context'))}: remove one."
            )
        if (weight := number(record["weight"])) is None:
            raise ConfigError(f"{source} has weight={record['weight']!r}, not a number: mend it.")
        lines[x, y], weights[x, y] = line, weight
    for x, context in enumerate(contexts):
        if missing := [item for item, y in items.items() if (x, y) not in lines]:
            raise ConfigError(
                f"{file.name} has no weight for {listed(missing)}{_in(context)}: add it, or drop the "
                "item from the game."
            )
    return weights if by_context else weights[0]


def _from_npz(file: InputFile, game: Named) -> np.ndarray:
    """The array `weight` of an npz, (n) or (X, n), in the order of its `items`, and of its `contexts` if it has any."""
    arrays = file.arrays()
    if arrays is None or "weight" not in arrays or arrays["weight"].dtype.kind not in "fiu":
        raise ConfigError(f"{file.name} has no array `weight` of numbers: save one with numpy.savez, and `items`.")
    weights = np.array(arrays["weight"], dtype=np.float64)
    if "items" not in arrays:
        return _unnamed(weights, file, game)
    for axis, key, names in ((-1, "items", game.items), (0, "contexts", game.contexts)):
        if key == "items" or (key in arrays and weights.ndim == 2):
            weights = _in_order(weights, axis, [str(name) for name in arrays[key].ravel()], names, key, file)
    return weights


def _in_order(
    weights: np.ndarray, axis: int, file_names: list[str], game_names: Sequence[str], key: str, file: InputFile
) -> np.ndarray:
    """Weights with one axis reordered from the file's names to the game's names."""
    check_unique(file_names, key, file.name)
    if weights.ndim not in (1, 2) or weights.shape[axis] != len(file_names):
        raise ConfigError(
            f"{file.name} has {len(file_names)} {key} and weights of shape {weights.shape}: give one weight for each."
        )
    positions = _numbered(file_names)
    for name in file_names:
        _index(_numbered(game_names), name, key.removesuffix("s"), file.name)
    if missing := [name for name in game_names if name not in positions]:
        raise ConfigError(f"{file.name} has no weight for {listed(missing)}: add it.")
    return np.take(weights, [positions[name] for name in game_names], axis)


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _index(indices: dict[str, int], name: str, kind: str, source: str) -> int:
    if name not in indices:
        raise ConfigError(
            f"{source} names the {kind} {name!r}, which the game does not have: it has {listed(list(indices))}."
        )
    return indices[name]


def _in(context: str | None) -> str:
    return f" in context {context}" if context else ""

"""Reads ratings of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from nlhf.config import ConfigError
from nlhf.io.containers import frame
from nlhf.io.inputs import InputFile
from nlhf.io.tables import listed, number
from nlhf.votes.formats.base import first_of
from nlhf.votes.formats.table import RATINGS
from nlhf.votes.source import source_of


def read_ratings(file: InputFile, names: Mapping[str, str], drop: Sequence[str] = ()) -> dict[str, float]:
    """The rating of every item, in the order of the file.

    Args:
        file: a table with a row for each item.
        names: the user's names of columns, as {item: player}.
        drop: items to leave out.

    Raises: ConfigError for a file without ratings, an item that has two or none, and fewer than two items.
    """
    source = source_of(file, names)
    if source.format is not RATINGS:
        raise ConfigError(source.refusal("ratings"))
    columns = source.frame if source.frame is not None else frame(file)
    item, rating = (first_of(columns.columns, column) for column in RATINGS.needs)
    ratings: dict[str, float] = {}
    for row, (name, cell) in enumerate(zip(columns.labels(item).cells, columns.labels(rating).cells, strict=True)):
        value = number(cell)
        if value is None or not isfinite(value):
            raise ConfigError(f"{columns.row(row)} has {rating}={cell!r}, no finite number: correct or remove it.")
        if not name or name in ratings:
            problem = f"names {name!r} again" if name else "names no item"
            raise ConfigError(f"{columns.row(row)} {problem}: give every item one row.")
        ratings[name] = value
    return _without(ratings, [name.strip() for name in drop], file)


def _without(ratings: Mapping[str, float], drop: Sequence[str], file: InputFile) -> dict[str, float]:
    """The ratings of the other items."""
    if unknown := [name for name in drop if name not in ratings]:
        raise ConfigError(f"game.drop={unknown[0]} is not an item of {file}: it has {listed(list(ratings), 50)}.")
    remaining = {name: rating for name, rating in ratings.items() if name not in drop}
    if len(remaining) < 2:
        raise ConfigError(f"{file.name} has {len(remaining)} rated items, too few for a game: give at least two.")
    return remaining

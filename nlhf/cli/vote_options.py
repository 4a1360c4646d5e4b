"""Options of the commands that read a file of votes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from nlhf.votes.where import Value


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a file is read."""
    parser.add_argument(
        "--columns", default="", metavar="NAMES", help="the file's names of columns, as item_a=left,item_b=right"
    )
    parser.add_argument(
        "--both-bad", choices=("tie", "drop"), help="votes that both are bad: ties (the default), or left out"
    )


def add_selection(parser: argparse.ArgumentParser, of_context: str) -> None:
    """Add the options that say which votes are used; `of_context` is the help line of --context."""
    parser.add_argument("--context", default="", metavar="COLUMNS", help=of_context)
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="use only rows with this value, as judge=human; repeat it to allow several values of a column",
    )
    parser.add_argument(
        "--cluster",
        default="",
        metavar="COLUMNS",
        help="columns that name voters or questions whose votes may be alike, as annotator; without it, votes are "
        "taken as independent",
    )
    parser.add_argument("--drop", default="", metavar="ITEMS", help="leave these items out, as gpt4,bard")


def listed_in(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def names_of(text: str) -> dict[str, str]:
    """The file's names of columns by their tidy names."""
    pairs = [entry.partition("=") for entry in filter(None, text.split(","))]
    for new, equals, old in pairs:
        if not (new.strip() and equals and old.strip()):
            raise ConfigError(
                f"--columns {text} is not NAME=COLUMN,...: write it as --columns item_a=left,item_b=right."
            )
    return {new.strip(): old.strip() for new, _, old in pairs}


def where_of(conditions: Sequence[str]) -> dict[str, list[Value]]:
    """The values of each column that --where allows."""
    from nlhf.votes.where import parsed

    where: dict[str, list[Value]] = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition} is not COLUMN=VALUE: write it as --where judge=human.")
        where.setdefault(column.strip(), []).append(parsed(value))
    return where

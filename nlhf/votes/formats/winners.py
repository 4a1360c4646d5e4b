"""Votes as the name of the winner, as one column per outcome, or as a number between the two items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.frames import Frame, Labels
from nlhf.io.tables import number
from nlhf.votes.formats.base import Outcomes

FIRST = frozenset({"a", "1", "left", "first", "item_a", "model_a", "model_1", "response_a"})
SECOND = frozenset({"b", "2", "right", "second", "item_b", "model_b", "model_2", "response_b"})
TIE = frozenset({"tie", "ties", "draw", "equal", "tie (inconsistent)"})
BOTH_BAD = frozenset({"tie (bothbad)", "tie(bothbad)", "both_bad", "bothbad", "both bad"})
EMPTY = frozenset({"", "nan", "null"})  # as programs write a missing cell
NO_WINNER = "have no winner"
WIN_A, WIN_B, WIN_NEITHER, ITEM = range(4)  # what a winner's name says; ITEM and more: the number of an item
BAD = -1
MISSING = -2


def by_winner(a: str, b: str) -> Callable[[Frame], Outcomes]:
    """A reader of a column `winner` that names an item of the columns a and b, their side, or a tie."""

    def read(frame: Frame) -> Outcomes:
        frame.prefetch([a, b, "winner"])
        first, second, winner = frame.labels(a), frame.labels(b), frame.labels("winner")
        kinds = [_kind(text, (a, b)) for text in [*winner.texts, ""]]
        result = np.array([MISSING if kind is None else kind for kind in kinds])[winner.codes]
        if ITEM in kinds or not {*first.texts, *second.texts}.isdisjoint(winner.texts):
            result = _by_name(frame, first, second, winner, result)
        bad = result == BAD
        tie = (result == WIN_NEITHER) | bad
        half = tie / 2
        unused = {NO_WINNER: result == MISSING}
        return Outcomes(first, second, (result == WIN_A) + half, (result == WIN_B) + half, tie * 1.0, unused, bad)

    return read


def _kind(text: str, columns: tuple[str, str]) -> int | None:
    """What the name of a winner says by itself; None for an empty one."""
    word = text.casefold()
    if word in EMPTY:
        return None
    if word in BOTH_BAD:
        return BAD
    if word in TIE:
        return WIN_NEITHER
    if word in FIRST or text == columns[0]:
        return WIN_A
    return WIN_B if word in SECOND or text == columns[1] else ITEM


def _by_name(frame: Frame, a: Labels, b: Labels, winner: Labels, result: np.ndarray) -> np.ndarray:
    """The outcomes where a winner may be the name of an item.

    Raises: ConfigError for a winner that is neither of the two items of its row.
    """
    numbers: dict[str, int] = {}
    coded = [
        np.array([numbers.setdefault(text, len(numbers)) for text in [*labels.texts, ""]])[labels.codes]
        for labels in (a, b, winner)
    ]
    named = (coded[2] == coded[0]) != (coded[2] == coded[1])
    by_name = np.where(coded[2] == coded[0], WIN_A, WIN_B)
    foreign = named & (result != ITEM) & (result != MISSING) & (by_name != result)
    if foreign.any():
        row = int(foreign.argmax())
        raise ConfigError(
            f"{frame.row(row)} has winner={winner.texts[winner.codes[row]]!r}, the name of one item and also "
            "another outcome: rename the items."
        )
    result = np.where(named, by_name, result)
    unknown = result == ITEM
    if unknown.any():
        row = int(unknown.argmax())
        names = [labels.texts[labels.codes[row]] for labels in (a, b)]
        raise ConfigError(
            f"{frame.row(row)} has winner={winner.texts[winner.codes[row]]!r}, which is neither of its items "
            f"({names[0]!r}, {names[1]!r}) nor a, b, left, right, model_a, model_b, tie or both_bad: correct it."
        )
    return result


def by_flags(a: str, b: str, flags: Sequence[str]) -> Callable[[Frame], Outcomes]:
    """A reader of three columns of 0 and 1: the first wins, the second wins, a tie."""

    def read(frame: Frame) -> Outcomes:
        frame.prefetch([a, b, *flags])
        values = np.stack([_flags(frame, name) for name in flags])
        total = values.sum(0)
        if (total > 1).any():
            row = int((total > 1).argmax())
            raise ConfigError(f"{frame.row(row)} has 1 in several of {', '.join(flags)}: correct it.")
        half = values[2] / 2
        unused = {NO_WINNER: total == 0}
        return Outcomes(frame.labels(a), frame.labels(b), values[0] + half, values[1] + half, values[2], unused)

    return read


def _flags(frame: Frame, name: str) -> np.ndarray:
    labels = frame.labels(name)
    values = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "0.0": 0.0, "1.0": 1.0, **dict.fromkeys(EMPTY, 0.0)}
    texts = [text.casefold() for text in [*labels.texts, ""]]
    for code, text in enumerate(texts):
        if text not in values and (row := labels.first_row(code)) is not None:
            raise ConfigError(f"{frame.row(row)} has {name}={text!r}, neither 0 nor 1: correct it.")
    return np.asarray(np.array([values.get(text, 0.0) for text in texts])[labels.codes])


def by_preference(a: str, b: str) -> Callable[[Frame], Outcomes]:
    """A reader of a column `preference` from 1 (the first wins) to 2 (the second wins); 0 and 1.5 are ties."""

    def read(frame: Frame) -> Outcomes:
        frame.prefetch([a, b, "preference"])
        value = preferences(frame)
        missing = np.isnan(value)
        second = np.where(missing, 0.5, value - 1)
        unused = {"have no preference": missing}
        return Outcomes(frame.labels(a), frame.labels(b), 1 - second, second, (second == 0.5) * 1.0, unused)

    return read


def preferences(frame: Frame) -> np.ndarray:
    """The column `preference`, with 1.5 for 0; nan for a missing one.

    Raises: ConfigError for a number out of range and for another text.
    """
    labels = frame.labels("preference")
    values = []
    for code, text in enumerate([*labels.texts, ""]):
        value = float("nan") if text.casefold() in EMPTY else number(text)
        if value is None or value < 0 or 0 < value < 1 or value > 2:
            if (row := labels.first_row(code)) is not None:
                raise ConfigError(f"{frame.row(row)} has preference={text!r}, no number from 1 to 2: correct it.")
            value = float("nan")
        values.append(1.5 if value == 0 else value)
    return np.asarray(np.array(values)[labels.codes])

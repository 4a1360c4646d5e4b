"""Conversations of several turns that a yaml lists: answers, replies with their probabilities, and preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.preference import PreferenceTable, check_preference
from nlhf.games.tree import SEPARATOR, Conversations, conversations, paths

if TYPE_CHECKING:
    from nlhf.games.matrix import MatrixGame

SUM = 1e-6  # by which probabilities of replies may differ from a sum of 1


@dataclass(frozen=True)
class ListedConversations(Conversations):
    """One game for all seeds.

    Args:
        answers: names of the policy's answers, a list for every turn; the same after every reply.
        replies: names of the user's replies, a list for every turn but the last.
        chances: their probabilities, positive: for every turn but the last a row for each conversation up to then, in
            the order of the names, the last name fastest.
        preference: P(row > column) of complete conversations, in the same order.
    """

    answers: list[list[str]]
    replies: list[list[str]]
    chances: list[list[list[float]]]
    preference: list[list[float]]

    random = False

    def __post_init__(self) -> None:
        if not len(self.answers) == len(self.replies) + 1 == len(self.chances) + 1:
            raise ConfigError(
                f"game.answers has {len(self.answers)} turns, game.replies {len(self.replies)} and game.chances "
                f"{len(self.chances)}: give one list of replies and one of chances between every two turns."
            )
        for level in (*self.answers, *self.replies):
            if not level or any(SEPARATOR in name for name in level):
                raise ConfigError(f"a turn has the names {level}: give at least one, without {SEPARATOR!r}.")

    def instances(self, streams: list[np.random.Generator]) -> MatrixGame:
        answers, replies = [tuple(level) for level in self.answers], [tuple(level) for level in self.replies]
        items = paths(answers, replies)
        preference = check_preference(np.array(self.preference), "game.preference")
        if preference.shape[-1] != len(items):
            raise ConfigError(
                f"game.preference compares {preference.shape[-1]} conversations, and the names make {len(items)}: "
                "give one row and one column for each."
            )
        chances, nodes = [], 1
        for turn, (names, following) in enumerate(zip(answers, replies, strict=False)):
            nodes *= len(names)
            chances.append(_chances(self.chances[turn], (nodes, len(following)), f"game.chances[{turn}]"))
            nodes *= len(following)
        return conversations([PreferenceTable(preference, items, ("all",))], answers, [chances])


def _chances(rows: list[list[float]], shape: tuple[int, int], key: str) -> np.ndarray:
    """Probabilities of replies (1, nodes, replies), which sum to 1."""
    if [len(row) for row in rows] != [shape[1]] * shape[0]:
        raise ConfigError(f"{key} has rows of {[len(row) for row in rows]} numbers: give {shape[0]} of {shape[1]}.")
    table = np.array(rows)
    wrong = ~((table > 0).all(1) & (np.abs(table.sum(1) - 1) <= SUM))
    if wrong.any():
        raise ConfigError(
            f"{key} has the row {rows[int(wrong.argmax())]}: give positive probabilities that sum to 1, and leave out "
            "replies that never occur."
        )
    return np.asarray(table / table.sum(1, keepdims=True))[None]

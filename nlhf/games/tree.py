"""Random conversations of several turns: the policy answers, a user replies by chance, the policy answers again.

P(y > y') ~ Uniform[0, 1] for complete conversations y, y', and the probabilities of the replies after each answer are
drawn uniformly from the simplex. Only the end of two conversations is compared (arXiv:2405.14655). With one turn it is
the game `random_tournament`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import LARGEST_DENSE, GameFamily, check_size
from nlhf.games.payoff import Payoff
from nlhf.games.preference import PreferenceTable, antisymmetric
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from nlhf.games.matrix import MatrixGame
    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.tree import Tree

SEPARATOR = " > "  # between the answers and replies in the name of a conversation


class Conversations(GameFamily):
    """Base of the games whose actions are complete conversations; it does not provide `one-turn`."""

    provides = frozenset({"advantage", "bilinear", "enumerate", "pairs"})

    @abstractmethod
    def instances(self, streams: list[np.random.Generator]) -> MatrixGame:
        """The game of P, from one stream per instance."""

    def build(self, seeds: list[int]) -> FiniteGame:
        streams = [stream(seed, "game") for seed in (seeds if self.random else seeds[:1])]
        return self.instances(streams).played_for(Payoff(self.payoff, self.clip))


@dataclass(frozen=True)
class RandomTree(Conversations):
    """One tree and one table of preferences per seed.

    Args:
        turns: of the policy, T >= 1; a user replies between two turns.
        actions: answers in every turn, >= 2.
        replies: of the user after every answer, >= 1; with 1 nothing is left to chance.
    """

    turns: int
    actions: int
    replies: int

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)
        check_size(smallest=1, turns=self.turns, replies=self.replies)
        if self.action_count**2 > LARGEST_DENSE:
            raise ConfigError(
                f"game.turns={self.turns} makes {self.action_count} conversations, too many for a matrix: give fewer "
                "turns, game.actions or game.replies."
            )

    @property
    def action_count(self) -> int:
        """The number of complete conversations."""
        return int(self.actions**self.turns * self.replies ** (self.turns - 1))

    def instances(self, streams: list[np.random.Generator]) -> MatrixGame:
        answers = [tuple(f"action{number}" for number in range(self.actions))] * self.turns
        replies = [tuple(f"reply{number}" for number in range(self.replies))] * (self.turns - 1)
        items = paths(answers, replies)
        tables, drawn = [], []
        for rng in streams:
            tables.append(PreferenceTable(antisymmetric(rng.random((1, len(items), len(items)))), items, ("all",)))
            nodes = [self.actions * (self.actions * self.replies) ** turn for turn in range(self.turns - 1)]
            drawn.append([rng.dirichlet(np.ones(self.replies), (1, count)) for count in nodes])
        return conversations(tables, answers, drawn)


def paths(answers: list[tuple[str, ...]], replies: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The names of all conversations, the last answer fastest."""
    levels = [level for pair in zip(answers, [*replies, ()], strict=True) for level in pair if level]
    return tuple(SEPARATOR.join(names) for names in product(*levels))


def conversations(
    tables: list[PreferenceTable], answers: list[tuple[str, ...]], replies: list[list[np.ndarray]]
) -> MatrixGame:
    """The game of these instances.

    Args:
        tables: preferences between complete conversations.
        answers: names, for every turn.
        replies: for every instance and every turn but the last, the probabilities of replies (1, nodes, replies).
    """
    import torch  # `nlhf run --help` starts without torch

    from nlhf.games.matrix import MatrixGame
    from nlhf.numerics.tree import Tree

    stacked = tuple(torch.from_numpy(np.stack(turn)) for turn in zip(*replies, strict=True))
    tree = Tree(tuple(len(names) for names in answers), stacked)
    return replace(MatrixGame.from_tables(tables), tree=tree)


def answers_in_context(items: Sequence[str], tree: Tree, log_policy: Tensor) -> dict[str, np.ndarray]:
    """The policy at every node: `answers`, the names of all answers K with the conversation before them, and
    `log_answers`, their log-probabilities at their nodes, (S, X, K)."""
    tables = [table.flatten(-2).cpu().numpy() for table in tree.turns(log_policy)]
    names = [
        SEPARATOR.join(items[first].split(SEPARATOR)[: 2 * turn + 1])
        for turn, table in enumerate(tables)
        for first in range(0, len(items), len(items) // table.shape[-1])
    ]
    return {"answers": np.array(names), "log_answers": np.concatenate(tables, -1)}

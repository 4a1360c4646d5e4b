"""The two kinds of games: those that compare pairs only, and those that also answer about whole policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nlhf.numerics.tree import Tree
    from nlhf.stats.vote_clusters import Clusters


class PairGame(Protocol):
    """A game that compares two actions in a context; its actions need not be listed."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts."""

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """P(first > second | context) - 1/2 for contexts (S, B) and actions (S, B, k), shape (S, B, k)."""


class RecordedGame(PairGame, Protocol):
    """A game with pairs that were compared before."""

    @property
    def recorded(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Contexts, first and second actions of the pairs, and P(first > second) - 1/2, (1 or S, N) each."""


class FiniteGame(PairGame, Protocol):
    """A game whose actions are listed, so that it answers about whole policies. S seeds, X contexts, Y actions."""

    @property
    def items(self) -> Sequence[str]:
        """Names of the actions."""

    @property
    def clusters(self) -> Clusters | None:
        """The votes of each voter or question, if P comes from votes with one context."""

    @property
    def votes(self) -> np.ndarray | None:
        """Number of votes and of ties on each pair of the first instance, (2, X, Y, Y), or None."""

    @property
    def wins(self) -> np.ndarray | None:
        """Counted wins of rows over columns in every instance, (1 or S, X, Y, Y), or None."""

    @property
    def features(self) -> Tensor | None:
        """Features of the contexts, the input of policies, (1 or S, X, d), or None."""

    @property
    def tree(self) -> Tree | None:
        """The turns of conversations, if the actions are conversations of several turns, or None."""

    @property
    def content(self) -> Tensor:
        """The numbers that define the game, with the instances as first dimension."""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Further arrays that define the game, for game.npz."""

    @property
    def is_bilinear(self) -> bool:
        """True if the payoff is A policy for a skew-symmetric matrix A."""

    @property
    def joinable(self) -> bool:
        """True if the games of several runs can be one: its tensors have the instances as first dimension, 1 or S."""

    @property
    def work(self) -> int:
        """Multiplications of a query for one seed."""

    def payoff(self, probabilities: Tensor) -> Tensor:
        """y -> P(y > policy | x) - 1/2 for probabilities (S, X, Y), shape (S, X, Y); or another payoff, at most 1/2.

        Computed in the precision of the game's own numbers, returned in the type of `probabilities`.
        """

    @property
    def linear(self) -> FiniteGame:
        """The game of the same preferences that is played for P itself; the game itself if it is."""

    def split(self) -> tuple[FiniteGame, FiniteGame | None]:
        """The game on the training contexts, and on the held-out contexts if there are any."""

    def to(self, where: torch.device | torch.dtype) -> FiniteGame:
        """The same game on another device, or with its numbers in another precision."""

    def dense(self) -> Tensor:
        """The advantages A = P - 1/2 of all instances, shape (1 or S, X, Y, Y), rows preferred to columns."""


class NonlinearGame(FiniteGame, Protocol):
    """A game whose payoff is not linear in the policy; `is_bilinear` is False."""

    def derivative(self, probabilities: Tensor) -> Tensor:
        """The derivative of `payoff` by the policy, (S, X, Y, Y), float64."""

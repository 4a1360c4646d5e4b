"""What a game can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FiniteGame(Protocol):
    """A game whose contexts and actions can be listed. S seeds, X contexts, Y actions."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts."""

    @property
    def items(self) -> Sequence[str]:
        """Names of the actions."""

    @property
    def votes(self) -> np.ndarray | None:
        """Votes behind each pair of the first instance and how many of them are ties, (2, X, Y, Y), or None."""

    @property
    def wins(self) -> np.ndarray | None:
        """Counted wins of rows over columns of every kept instance, (1 or S, X, Y, Y), or None."""

    @property
    def features(self) -> Tensor | None:
        """What a policy can know of the contexts, (1 or S, X, d), or None."""

    @property
    def content(self) -> Tensor:
        """What the game is made of, the instances as first dimension."""

    @property
    def work(self) -> int:
        """Multiplications of a query for one seed."""

    def payoff(self, probabilities: Tensor) -> Tensor:
        """y -> P(y > policy | x) - 1/2 for probabilities (S, X, Y), shape (S, X, Y), as precise as its own numbers are
        and of the type of the question."""

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """P(first > second | context) - 1/2 for contexts (S, B) and actions (S, B, k), shape (S, B, k)."""

    def split(self) -> tuple[FiniteGame, FiniteGame | None]:
        """The game on the contexts that are trained on, and that on the held-out ones, if there are any."""

    def to(self, where: torch.device | torch.dtype) -> FiniteGame:
        """The same game on another device, or with its numbers in another precision."""

    def dense(self) -> Tensor:
        """The advantages A = P - 1/2 of the kept instances, shape (1 or S, X, Y, Y), rows preferred to columns."""

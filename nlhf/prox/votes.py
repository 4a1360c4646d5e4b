"""The engine of votes: counts of votes on chosen pairs, for algorithms that decide which pairs to ask about.

A vote on y and y' prefers y with probability P(y > y' | x), independently of all others, so that the wins of y in N
votes are binomial. One query is one vote. The engine solves no proximal problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from nlhf.config import ConfigError
from nlhf.numerics.streams import step_stream
from nlhf.prox.base import Parts, Prox, ProxFamily, ProximalProblem
from nlhf.prox.engine import ProxEngine

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.policies.base import Policy, TrainablePolicy

LARGEST_TABLES = 1 << 24  # entries of the tables of votes of all seeds


class VoteProx(Prox, Protocol):
    """The part of the engine of votes that an algorithm sees."""

    active: np.ndarray  # (S) bool, the seeds that have not stopped

    def rng(self, seed: int) -> np.random.Generator:
        """Random numbers for the choice of pairs of one seed, given by its position, in this iteration."""

    def cast(self, numbers: np.ndarray) -> np.ndarray:
        """Cast votes on pairs in every context, and charge them.

        Args:
            numbers: of votes on row and column, (S, X, n, n), positive above the diagonal only.

        Returns: how many of them the row won, (S, X, n, n).
        """


@dataclass(frozen=True)
class VotesProx(ProxFamily):
    """Counts of votes on the pairs that an algorithm chooses."""

    random = True
    needs = frozenset({"asking", "enumerate", "one-turn", "table"})
    provides = frozenset({"votes"})

    def engine(self, parts: Parts[FiniteGame]) -> ProxEngine:
        return VoteCounts(parts)


class VoteCounts(ProxEngine):
    """Draws the votes of every seed from random streams that depend on the seed and the iteration only."""

    def __init__(self, parts: Parts[FiniteGame]) -> None:
        super().__init__(parts)
        self.seeds, game = parts.seeds, parts.game
        actions, contexts = len(game.items), len(game.contexts)
        if len(self.seeds) * contexts * actions**2 > LARGEST_TABLES:
            raise ConfigError(
                f"prox=votes counts the votes on every pair, and {actions} actions in {contexts} contexts for "
                f"{len(self.seeds)} seeds are too many: give fewer actions, contexts or seeds."
            )
        self.preference = np.clip(game.dense().cpu().numpy() + 0.5, 0.0, 1.0)

    def rng(self, seed: int) -> np.random.Generator:
        """Random numbers for the choice of pairs (see `VoteProx`)."""
        return step_stream(self.seeds[seed], "asking", int(self.iterations[seed]))

    def cast(self, numbers: np.ndarray) -> np.ndarray:
        """Cast votes (see `VoteProx`)."""
        wins = np.zeros(numbers.shape, np.int64)
        for seed in np.flatnonzero(self.active).tolist():
            rng = step_stream(self.seeds[seed], "feedback", int(self.iterations[seed]))
            wins[seed] = rng.binomial(numbers[seed], self.preference[seed % len(self.preference)])
        self.ledger.charge(numbers.sum((1, 2, 3)), self.active)
        return wins

    def solve(self, problem: ProximalProblem) -> TrainablePolicy:
        self._refuse()

    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError("prox=votes casts votes and solves no proximal problem: choose prox=exact or prox=sampled.")

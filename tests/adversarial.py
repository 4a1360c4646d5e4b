"""Games on which methods fail, with references and beta, in batches whose seeds are problems.

`FAMILIES` maps a name to a function of the number of actions and a generator, which returns P(row > column), (n, n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlhf.algorithms.base import Algorithm
from nlhf.equilibria import metrics
from nlhf.equilibria import solve as reference_equilibrium
from nlhf.games.feedback import Feedback
from nlhf.games.listed import numbered
from nlhf.games.matrix import MatrixGame
from nlhf.games.preference import PreferenceTable
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.engine import ProxEngine
from nlhf.prox.exact import ExactProx

EPS = float(np.finfo(np.float64).eps)


def uniform(n: int, rng: np.random.Generator) -> np.ndarray:
    return opposed(rng.random((n, n)))


def deterministic(n: int, rng: np.random.Generator) -> np.ndarray:
    return opposed(rng.integers(0, 2, (n, n)).astype(float))


def circle(n: int, rng: np.random.Generator) -> np.ndarray:
    """Points on a circle, each certain to beat those within half a turn behind it."""
    angle = 2 * np.pi * np.sort(rng.random(n))
    return opposed(0.5 + 0.5 * np.sign(np.sin(angle[:, None] - angle)))


def cycle(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rock, paper, scissors with n throws; opposite throws draw where n is even."""
    ahead = (np.arange(n)[:, None] - np.arange(n)) % n
    return opposed(0.5 + 0.4 * np.sign(n - 2 * ahead))


def bradley_terry(n: int, rng: np.random.Generator) -> np.ndarray:
    rating = 2 * rng.standard_normal(n)
    return opposed(1 / (1 + np.exp(rating - rating[:, None])))


def transitive(n: int, rng: np.random.Generator) -> np.ndarray:
    """The earlier action wins for certain."""
    return opposed(np.ones((n, n)))


def sparse(n: int, rng: np.random.Generator) -> np.ndarray:
    """Certain on one pair in ten, even on the others."""
    drawn = rng.random((n, n))
    return opposed(np.select([drawn < 0.05, drawn > 0.95], [0.0, 1.0], 0.5))


def near_half(n: int, rng: np.random.Generator) -> np.ndarray:
    return opposed(0.5 + 1e-6 * (rng.random((n, n)) - 0.5))


def opposed(upper: np.ndarray) -> np.ndarray:
    """The preferences above the diagonal, their complements below, 1/2 on it."""
    above = np.triu(np.ones(upper.shape, dtype=bool), k=1)
    return np.where(above, upper, np.where(above.T, 1 - upper.T, 0.5))


FAMILIES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    family.__name__: family
    for family in (uniform, deterministic, circle, cycle, bradley_terry, transitive, sparse, near_half)
}


def matrix_game(preference: np.ndarray) -> MatrixGame:
    """The game of P(row > column), shape (n, n), (X, n, n) or (S, X, n, n)."""
    instances = preference[(None,) * (4 - preference.ndim)]
    items, contexts = numbered("action", instances.shape[2]), numbered("context", instances.shape[1])
    return MatrixGame.from_tables([PreferenceTable(table, items, contexts) for table in instances])


def log_policy(scale: float, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Log-probabilities with normal logits of standard deviation `scale`."""
    return torch.from_numpy(scale * rng.standard_normal(shape)).log_softmax(-1)


def exact(game, reference, beta) -> ProxEngine:
    """The exact engine."""
    plain = Feedback(votes_per_pair=None, orders="given", flip=0.0, position_bias=0.0)
    return ExactProx().engine(Parts(game, reference, beta, list(range(len(beta))), plain))


@dataclass(frozen=True, eq=False)
class Arena:
    """A batch of problems, one per seed.

    Args:
        game: one instance per seed, or a single one.
        log_reference: (S, X, n).
        strengths: the beta of every seed.
        dtype: of the game's answers.
    """

    game: MatrixGame
    log_reference: Tensor
    strengths: tuple[float, ...]
    dtype: torch.dtype = torch.float64

    @cached_property
    def beta(self) -> Tensor:
        """(S, 1, 1)."""
        return torch.tensor(self.strengths, dtype=torch.float64)[:, None, None]

    @cached_property
    def log_equilibrium(self) -> Tensor:
        """(S, X, n)."""
        seeds, _, n = self.log_reference.shape
        advantage, solved = self.game.dense().expand(seeds, -1, -1, -1), torch.empty_like(self.log_reference)
        for beta in set(self.strengths):
            rows = [seed for seed in range(seeds) if self.strengths[seed] == beta]
            problems = advantage[rows].reshape(-1, n, n), self.log_reference[rows].reshape(-1, n)
            solved[rows] = reference_equilibrium.solve(*problems, beta).log_policy.view(len(rows), -1, n)
        return solved

    def prox(self) -> ProxEngine:
        return exact(self.game.to(self.dtype), TabularPolicy(self.log_reference), self.beta)

    def exploitability(self, policy: Tensor) -> Tensor:
        """(S, X)."""
        return metrics.exploitability_of(policy, self.game.payoff(policy.exp()), self.log_reference, self.beta)

    def states(self, algorithm: Algorithm, iterations: int, start: Tensor | None = None) -> Iterator[tuple[Any, int]]:
        """The state after 0, 1, ... iterations from the reference, or `start`, and the queries of the first seed."""
        prox, bound = self.prox(), algorithm.bind(self.beta)
        state = bound.init(TabularPolicy(self.log_reference if start is None else start))
        yield state, 0
        for _ in range(iterations):
            state = bound.update(state, prox)
            yield state, int(prox.queries[0])

    def policies(self, algorithm: Algorithm, iterations: int, start: Tensor | None = None) -> list[Tensor]:
        """Log-probabilities (S, X, n) after 0, 1, ... iterations."""
        return [state.policy.log_probabilities for state, _ in self.states(algorithm, iterations, start)]

    def rounding(self, policy: Tensor) -> Tensor:
        """What rounding may add to KL(pi* || policy), (S, X): the floor of docs/mathematics.md, section 8, over beta,
        and what answers of less precision do to a fixed point."""
        largest = policy.abs().where(policy > -700, 0.0).amax(-1) + self.log_reference.abs().amax(-1)
        answers = torch.finfo(self.dtype).eps / (2 * self.beta[..., 0])
        return (EPS * largest + answers) ** 2


@cache
def arena(family: str, n: int, strengths: Iterable[float], scales: Iterable[float], draw: int = 0,
          dtype: torch.dtype = torch.float64) -> Arena:  # fmt: skip
    """A game and a reference for every pair of a beta and a standard deviation of the reference's logits."""
    rng = np.random.default_rng(draw)
    pairs = [(beta, scale) for beta in strengths for scale in scales]
    preference = np.stack([FAMILIES[family](n, rng)[None] for _ in pairs])
    log_reference = torch.stack([log_policy(scale, (1, n), rng) for _, scale in pairs])
    return Arena(matrix_game(preference), log_reference, tuple(beta for beta, _ in pairs), dtype)

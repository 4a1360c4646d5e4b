"""Reference equilibria, by other methods than those under test.

beta > 0: Newton's method with continuation in 1/beta (nlhf/equilibria/newton.py), with factorised matrices or with
products only.
beta = 0: an interior point method (nlhf/equilibria/interior.py), polished on its support; for games that are too large,
the proximal point method with a step that doubles: the game regularised to the last solution is solved by Newton's
method, until no action gains. Conversations of several turns: a linear programme (nlhf/equilibria/turns.py).
Every solution has a certificate (nlhf/equilibria/certificates.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nlhf.equilibria.certificates import Equilibrium, recertify, recertify_matrix_free, rounding_floor
from nlhf.equilibria.newton import newton
from nlhf.equilibria.problems import SMALL, Dense, Nonlinear, Problem, problem_of
from nlhf.equilibria.regularised import Regularised
from nlhf.equilibria.turns import Turns, sequence_forms
from nlhf.equilibria.winners import winners
from nlhf.numerics.threads import threads_for
from nlhf.regularisers.reverse_kl import REVERSE_KL

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.tree import Tree
    from nlhf.regularisers.base import Regulariser

MEMORY = 8_000_000  # entries of one batch of Jacobians
DOUBLINGS = 40  # of the proximal point's step


def solve(
    advantage: Tensor,
    log_reference: Tensor,
    beta: float,
    tree: Tree | None = None,
    regulariser: Regulariser = REVERSE_KL,
) -> Equilibrium:
    """The equilibrium of every game of a batch.

    Args:
        advantage: P - 1/2, float64 (B, n, n), rows preferred to columns.
        log_reference: log-probabilities (B, n).
        beta: strength of the regulariser, >= 0.
        tree: the turns of conversations, for tables (B, n).
        regulariser: for beta > 0; another one than the reverse KL has no tree.

    Returns: an `Equilibrium` with log_policy (B, n).
    """
    batch, n = log_reference.shape
    size = MEMORY // (n * n) if n <= SMALL else 1
    parts = [slice(first, first + size) for first in range(0, batch, size)]

    def problem(part: slice) -> Dense:
        return Dense(advantage[part]) if tree is None else Turns(advantage[part], tree.part(part))

    def solved_part(part: slice) -> Tensor:
        games, base = problem(part), log_reference[part]
        return newton(games, base, beta) if regulariser == REVERSE_KL else _other(games, base, beta, regulariser)

    with threads_for(n):
        if beta > 0:
            policies = [solved_part(part) for part in parts]
            return recertify(advantage, torch.cat(policies), log_reference, beta, None, tree, regulariser)
        if tree is not None:
            return recertify(advantage, sequence_forms(advantage, tree).log(), log_reference, beta, tree=tree)
        solved = [winners(advantage[part]) for part in parts]
        policy, unique = (torch.cat(results) for results in zip(*solved, strict=True))
        return recertify(advantage, policy.log(), log_reference, beta, unique)


def solve_matrix_free(
    game: FiniteGame, log_reference: Tensor, beta: float, regulariser: Regulariser = REVERSE_KL
) -> Equilibrium:
    """The equilibria of all seeds and contexts of a game, from its answers only.

    Args:
        game: computes the products.
        log_reference: log-probabilities (S, X, n).
        beta: strength of the regulariser, >= 0.
        regulariser: another one than the reverse KL needs beta > 0 and a `NonlinearGame`.

    Returns: an `Equilibrium` with log_policy (S, X, n).
    """
    seeds, contexts, n = log_reference.shape
    problem, flat = problem_of(game, (seeds, contexts)), log_reference.reshape(-1, n)
    if isinstance(problem, Nonlinear) and regulariser != REVERSE_KL:
        policy = _other(problem, flat, beta, regulariser)
        return recertify_matrix_free(game, policy.view(seeds, contexts, n), log_reference, beta, regulariser)
    policy = newton(problem, flat, beta) if beta > 0 else _proximal_point(problem, flat)
    return recertify_matrix_free(game, policy.view(seeds, contexts, n), log_reference, beta)


def _other(games: Dense | Nonlinear, log_reference: Tensor, beta: float, regulariser: Regulariser) -> Tensor:
    """The equilibria (B, n) for another regulariser than the reverse KL."""
    return Regularised(
        games, log_reference, log_reference.new_full((len(log_reference), 1), beta), regulariser
    ).equilibria()


def _proximal_point(problem: Problem, log_reference: Tensor) -> Tensor:
    """An equilibrium at beta = 0, log-probabilities (B, n); it need not be the only one."""
    policy, beta = log_reference, 1.0
    best = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
    closest = policy
    for _ in range(DOUBLINGS):
        policy = newton(problem, policy, beta)
        value = problem.answer(policy.exp()).amax(-1).clamp(min=0.0)
        better = value < best
        closest, best = policy.where(better[:, None], closest), value.where(better, best)
        if (best <= rounding_floor(closest, log_reference, 0.0)).all():
            break
        beta /= 2
    return closest

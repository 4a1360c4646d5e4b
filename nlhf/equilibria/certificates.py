"""Certificates of equilibria: the measured exploitability, and the floor that rounding in float64 can explain.

Certified means exploitability <= min(floor, 1e-12), for preferences in [0, 1]. Exploitability/beta bounds
KL(pi || pi*). See docs/mathematics.md, "Reference equilibria and certificates".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria.uniqueness import unique_winners
from nlhf.numerics import simplex
from nlhf.regularisers.reverse_kl import REVERSE_KL

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame
    from nlhf.numerics.tree import Tree
    from nlhf.regularisers.base import Regulariser

CERTIFIED = 1e-12  # the largest certified exploitability, even if rounding explains more
INTERIOR_POINT = "interior point"
DETERMINED = 1e-6  # the largest bound on KL(pi || pi*) with which distances to pi count as distances to pi*


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium of every problem of a batch.

    Args:
        log_policy: log-probabilities (..., n).
        exploitability: measured, the certificate, (...).
        floor: the exploitability that rounding can cause (see `rounding_floor`), (...).
        unique: True if it is certified to be the only equilibrium; always if beta > 0, (...).
        method: `newton`, `newton-krylov`, `interior point`, `proximal point` or `linear programme`.
    """

    log_policy: Tensor
    exploitability: Tensor
    floor: Tensor
    unique: Tensor
    method: str

    @property
    def certified(self) -> Tensor:
        """True if the exploitability is at most min(floor, 1e-12), False if it is nan; shape (...)."""
        return self.exploitability <= self.floor.clamp(max=CERTIFIED)

    def shaped(self, policy: Tensor) -> Equilibrium:
        """The same with the batch dimensions of `policy` (G, X, n)."""
        values = {name: getattr(self, name).view(policy.shape[:-1]) for name in ("exploitability", "floor", "unique")}
        return Equilibrium(self.log_policy.view(policy.shape), **values, method=self.method)

    def determined(self, beta: float) -> Tensor:
        """True if the certificate bounds KL(pi || pi*) by 1e-6, or if beta = 0 and the equilibrium is unique.

        If beta is so small that rounding moves the equilibrium, a certified policy may be far from pi*.
        """
        return self.unique if beta == 0 else self.unique & (self.exploitability <= DETERMINED * beta)


def rounding_floor(policy: Tensor, log_reference: Tensor, beta: float, regulariser: Regulariser = REVERSE_KL) -> Tensor:
    """The exploitability that rounding in float64 can cause, for log-probabilities (..., n) -> (...).

    For beta > 0 the exploitability is beta KL(pi || BR), with the best response BR ∝ ref exp(A pi / beta). Every logit
    of pi and BR is a sum of log pi, log ref and A pi / beta, where |A pi| <= 1/2. Each operation rounds by at most eps
    times the largest of these numbers, and a sum of n products rounds about sqrt(n) times. At the exact equilibrium
    log pi and log BR are equal, so in float64 they differ by at most

        delta = roundings eps (max |log pi| + max |log ref| + 1/(2 beta)),      roundings = 16 + 2 sqrt(n).

    Distributions whose logarithms differ by at most delta have KL <= min(delta^2, delta): the floor is beta times that.
    The first maximum is over the support. As beta falls to 0, the floor stays below roundings eps / 2, the rounding of
    the largest gain max_y (A pi)_y, plus a term that vanishes: this is the floor at beta = 0.

    With another regulariser, the scores x of pi = argmax <pi, x> - R(pi) are at most twice as large and take twice the
    operations, and D <= min(sum c delta^2/2, delta) with c = 1/R'': `Regulariser.spread` bounds 16 sum c/2.
    """
    roundings = 16 + 2 * policy.shape[-1] ** 0.5
    largest = policy.abs().where(policy > -700, 0.0).amax(-1) + log_reference.abs().amax(-1)
    scaled: Tensor = (beta * largest + 0.5) * (roundings * float(np.finfo(float).eps))  # beta delta
    spread = regulariser.spread(policy, log_reference)
    return scaled * (spread * scaled / beta).clamp(max=1.0) if beta > 0 else scaled


def recertify(
    advantage: Tensor,
    policy: Tensor,
    log_reference: Tensor,
    beta: float,
    unique: Tensor | None = None,
    tree: Tree | None = None,
    regulariser: Regulariser = REVERSE_KL,
) -> Equilibrium:
    """Policies (B, n) of `solve` with new certificates in games (B, n, n), by one product each.

    Args:
        unique: certificates of uniqueness (B) that were computed before.
        tree: the turns of conversations, whose uniqueness is not tested at beta = 0.
    """
    policy = _finite(policy, log_reference)
    probabilities = policy.exp()
    if unique is None:
        tested = beta == 0 and tree is None
        unique = unique_winners(advantage, probabilities) if tested else _constant(policy, beta > 0)
    answer = simplex.products(advantage, probabilities)
    method = dense_method(beta, tree) if regulariser == REVERSE_KL else INTERIOR_POINT
    return _certified(policy, answer, log_reference, beta, unique, method, tree, regulariser)


def recertify_matrix_free(
    game: FiniteGame, policy: Tensor, log_reference: Tensor, beta: float, regulariser: Regulariser = REVERSE_KL
) -> Equilibrium:
    """Policies (S, X, n) of `solve_matrix_free` with new certificates; at beta = 0 uniqueness is not tested."""
    policy = _finite(policy, log_reference)
    unique = _constant(policy, beta > 0)
    method = matrix_free_method(game, beta) if regulariser == REVERSE_KL else INTERIOR_POINT
    answer = game.payoff(policy.exp())
    return _certified(policy, answer, log_reference, beta, unique, method, None, regulariser)


def _certified(
    policy: Tensor,
    answer: Tensor,
    log_reference: Tensor,
    beta: float,
    unique: Tensor,
    method: str,
    tree: Tree | None,
    regulariser: Regulariser,
) -> Equilibrium:
    """Policies (..., n) with their certificates, from answer = A policy."""
    value = (
        regulariser.exploitability(policy, answer, log_reference, policy.new_tensor(beta), tree)
        if beta > 0
        else simplex.largest(answer, tree).clamp(min=0.0)
    )
    return Equilibrium(policy, value, rounding_floor(policy, log_reference, beta, regulariser), unique, method)


def _constant(policy: Tensor, unique: bool) -> Tensor:
    return torch.full(policy.shape[:-1], unique)


def _finite(policy: Tensor, log_reference: Tensor) -> Tensor:
    """Policies, with the reference instead of a policy with nan, which a failed solver leaves."""
    return policy.where(~policy.isnan().any(-1, keepdim=True), log_reference)


def dense_method(beta: float, tree: Tree | None = None) -> str:
    """The `method` of `solve` at this beta."""
    if beta > 0:
        return "newton"
    return INTERIOR_POINT if tree is None else "linear programme"


def matrix_free_method(game: FiniteGame, beta: float) -> str:
    """The `method` of `solve_matrix_free` at this beta."""
    if beta == 0:
        return "proximal point"
    return "newton-krylov" if game.is_bilinear else "newton"

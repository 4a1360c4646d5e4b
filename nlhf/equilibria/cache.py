"""Reference equilibria of a run's games, computed once and cached under runs_dir/.equilibria.

A file holds policies only: exploitability, floor and uniqueness are measured again whenever it is read. The equilibrium
of a damaged file is computed again.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nlhf.equilibria import store
from nlhf.equilibria.certificates import (
    CERTIFIED,
    Equilibrium,
    dense_method,
    matrix_free_method,
    recertify,
    recertify_matrix_free,
)
from nlhf.equilibria.regularised import suffix
from nlhf.equilibria.solve import solve, solve_matrix_free
from nlhf.games.base import LARGEST_DENSE
from nlhf.games.matrix import MatrixGame
from nlhf.games.protocol import FiniteGame
from nlhf.numerics.tree import Tree
from nlhf.regularisers.base import Regulariser
from nlhf.regularisers.reverse_kl import REVERSE_KL

log = logging.getLogger(__name__)
LARGEST = {"newton": 2500, "interior point": 3000, "linear programme": 500}  # actions up to which a matrix is used
LONG = 15.0  # estimated seconds from which a warning is logged
WORK = 40_000_000  # multiplications of a query up to which `auto` takes about a minute with products alone


@dataclass(frozen=True)
class Certified:
    """Equilibria of all instances, (G, X, n), and the ones that metrics may compare with.

    Args:
        solution: the equilibria, batch dimensions (G, X).
        log_policy: the same, nan in instances without a certified unique equilibrium in every context.
        summary: for summary.json.
    """

    solution: Equilibrium
    log_policy: Tensor
    summary: dict[str, Any]


def reference_equilibria(
    game: FiniteGame,
    log_reference: Tensor,
    beta: float,
    choice: str,
    cache: Path,
    unit: float = 1.0,
    regulariser: Regulariser = REVERSE_KL,
) -> Certified | None:
    """The equilibria of every instance, from the cache or solved; None, with a warning, if they are not computed.

    Args:
        log_reference: (1 or S, X, n).
        beta: strength of the regulariser, for payoffs of at most 1/2.
        choice: `always`, `never`, or `auto`, which skips games that take more than about a minute.
        unit: what payoffs and beta were divided by; messages and the summary are in the user's units.
        regulariser: another one than the reverse KL needs a table that fits in memory, or derivatives of answers.
    """
    tree = game.tree if game.tree is not None and game.tree.replies else None
    method, n = dense_method(beta, tree), len(game.items)
    if choice == "never":
        return None
    entries = len(game.content) * len(game.contexts) * n * n
    factorised = game.is_bilinear and n <= LARGEST[method] and entries <= max(LARGEST_DENSE, game.content.numel())
    slow = game.work > WORK or (n > LARGEST[method] and (tree is not None or not game.is_bilinear))
    if choice == "auto" and not factorised and slow:
        log.warning("no reference equilibrium: %d actions take long; equilibrium=always computes it", n)
        return None
    if not factorised and game.is_bilinear and regulariser != REVERSE_KL:
        log.warning("no reference equilibrium: %d actions are too many for regulariser=%s", n, regulariser)
        return None
    log_reference = log_reference.cpu()
    instances = max(len(game.content), len(log_reference))
    log_reference = log_reference.expand(instances, -1, -1)
    if tree is not None:
        tree = tree.to(log_reference.device).expanded(instances)
    elif not factorised:
        solved = _matrix_free(game.to(log_reference.device), log_reference, beta, cache, unit, regulariser)
        return summarised(solved, beta, unit)
    advantage = game.dense().cpu().expand(instances, -1, -1, -1)
    return summarised(_dense(advantage, log_reference, beta, cache, tree, unit, regulariser), beta, unit)


def _dense(
    advantage: Tensor,
    log_reference: Tensor,
    beta: float,
    cache: Path,
    tree: Tree | None,
    unit: float,
    regulariser: Regulariser,
) -> Equilibrium:
    """The equilibria (G, X, n) of games (G, X, n, n), from a file for each instance."""
    method, replies = dense_method(beta, tree) + suffix(regulariser), () if tree is None else tree.replies
    keys = [store.key_of(method, tensors, beta) for tensors in zip(advantage, log_reference, *replies, strict=True)]
    policies = [store.read(cache, key, log_reference.shape[1:]) for key in keys]
    missing = [index for index, policy in enumerate(policies) if policy is None]
    n = log_reference.shape[-1]
    if missing:
        flat = log_reference[missing].reshape(-1, n).contiguous()
        factorisations = 10 + 22 * max(0.0, -math.log10(beta)) if beta else 20
        _announce(len(flat) * n**3 * 2e-11 * factorisations, n, beta * unit)
        part = None if tree is None else tree.part(missing).flat()
        solved = solve(advantage[missing].reshape(-1, n, n), flat, beta, part, regulariser).log_policy
        for index, policy in zip(missing, solved.view(len(missing), -1, n), strict=True):
            store.write(cache, keys[index], policy)
            policies[index] = policy
    policy = torch.stack([policy for policy in policies if policy is not None])
    flat = log_reference.reshape(-1, n)
    flat_tree = None if tree is None else tree.flat()
    games = advantage.reshape(-1, n, n)
    return recertify(games, policy.view(-1, n), flat, beta, None, flat_tree, regulariser).shaped(policy)


def _matrix_free(
    game: FiniteGame, log_reference: Tensor, beta: float, cache: Path, unit: float, regulariser: Regulariser
) -> Equilibrium:
    """The equilibria (G, X, n) of all instances together, from one file."""
    method = f"{matrix_free_method(game, beta)} of {type(game).__module__}.{type(game).__qualname__}"
    method += suffix(regulariser)
    key = store.key_of(method, (game.content, log_reference), beta)
    policy = store.read(cache, key, log_reference.shape)
    if policy is None:
        if beta and isinstance(game, MatrixGame):  # games with a structure take fewer products
            _announce(game.work * len(log_reference) * 6e-10 * (100 + 5.5 / beta), log_reference.shape[-1], beta * unit)
        policy = solve_matrix_free(game, log_reference, beta, regulariser).log_policy
        store.write(cache, key, policy)
    return recertify_matrix_free(game, policy, log_reference, beta, regulariser)


def _announce(seconds: float, actions: int, beta: float) -> None:
    """Warn before solving a reference equilibrium that takes long, as for a tiny beta.

    The estimates are for one core: a factorised step takes about 2e-11 n^3 seconds, and 10 + 22 log10(1/beta) steps of
    Newton's method or 20 of the interior point method are needed; a product takes 6e-10 seconds per entry, and
    100 + 5.5/beta products are needed.
    """
    if seconds > LONG:
        log.warning(
            "solving the reference equilibrium of %d actions at beta=%g may take about %.0f s; equilibrium=never "
            "skips it",
            actions,
            beta,
            seconds,
        )


def summarised(equilibria: Equilibrium, beta: float, unit: float) -> Certified:
    """Equilibria (G, X, n) with what metrics may compare with, and warnings about instances without a usable one."""
    certified, unique = equilibria.certified.all(-1), equilibria.unique.all(-1)
    usable = (equilibria.certified & equilibria.determined(beta)).all(-1)
    count = len(certified)
    if not certified.all():
        log.warning(
            "no certified equilibrium for %d of %d instances (exploitability up to %.1e): their KL columns stay empty",
            int((~certified).sum()),
            count,
            unit * equilibria.exploitability.max(),
        )
    elif not unique.all():
        log.warning(
            "beta=0 leaves %d of %d instances more than one equilibrium, or none that is certified unique: "
            "their KL columns stay empty",
            int((~unique).sum()),
            count,
        )
    elif not usable.all():
        log.warning(
            "beta=%g is so small that rounding moves the equilibrium of %d of %d instances: their KL columns "
            "stay empty",
            beta * unit,
            int((~usable).sum()),
            count,
        )
    worst = int((equilibria.exploitability / equilibria.floor.clamp(max=CERTIFIED)).argmax())
    summary = {
        "method": equilibria.method,
        "exploitability": unit * float(equilibria.exploitability.flatten()[worst]),
        "floor": unit * float(equilibria.floor.flatten()[worst]),
        "certified": bool(certified.all()),
        "unique": bool(unique.all()),
    }
    return Certified(equilibria, equilibria.log_policy.where(usable[:, None, None], float("nan")), summary)

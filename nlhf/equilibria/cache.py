"""Reference equilibria of a run's games, computed once and kept under runs_dir/.equilibria.

A file holds policies and nothing that is claimed of them: exploitability, floor and uniqueness are measured whenever it
is read. A damaged file is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria import solve as reference_equilibrium
from nlhf.equilibria.solve import CERTIFIED, Equilibrium
from nlhf.games.base import LARGEST_DENSE
from nlhf.games.matrix import MatrixGame
from nlhf.games.protocol import FiniteGame
from nlhf.io.arrays import read_arrays
from nlhf.io.files import replacing
from nlhf.io.links import make_shared_folder

log = logging.getLogger(__name__)
LARGEST = {"newton": 2500, "linear programme": 1000}  # actions up to which a matrix is factorised
NORMALISED = 1e-9  # by how much the probabilities of a stored policy may miss 1
LONG = 15.0  # seconds of solving that are announced
WORK = 40_000_000  # multiplications of a query up to which `auto` takes about a minute with products alone


@dataclass(frozen=True)
class Certified:
    """Equilibria of all instances, (G, X, n), with what their certificates allow to be measured.

    Args:
        found: the equilibria, batch dimensions (G, X).
        log_policy: the same log-probabilities, nan in instances where a context has no certified single equilibrium.
        summary: for summary.json.
    """

    found: Equilibrium
    log_policy: Tensor
    summary: dict[str, Any]


def reference_equilibria(
    game: FiniteGame, log_reference: Tensor, beta: float, choice: str, cache: Path
) -> Certified | None:
    """The equilibria of every instance, from the cache or solved; None, with a warning, where they are not computed.

    Args:
        log_reference: (1 or S, X, n).
        choice: `always`, `never`, or `auto`, which leaves out what takes more than about a minute.
    """
    method = reference_equilibrium.dense_method(beta)
    n = len(game.items)
    if choice == "never":
        return None
    entries = len(game.content) * len(game.contexts) * n * n
    factorised = n <= LARGEST[method] and entries <= max(LARGEST_DENSE, game.content.numel())
    if choice == "auto" and not factorised and game.work > WORK:
        log.warning("no reference equilibrium: %d actions take long; columns stay empty (equilibrium=always)", n)
        return None
    log_reference = log_reference.cpu()
    instances = max(len(game.content), len(log_reference))
    log_reference = log_reference.expand(instances, -1, -1)
    if not factorised:
        return _summarised(_matrix_free(game.to(log_reference.device), log_reference, beta, cache), beta)
    return _summarised(_dense(game.dense().cpu().expand(instances, -1, -1, -1), log_reference, beta, cache), beta)


def _dense(advantage: Tensor, log_reference: Tensor, beta: float, cache: Path) -> Equilibrium:
    """The equilibria (G, X, n) of games (G, X, n, n), from a file for each instance."""
    method = reference_equilibrium.dense_method(beta)
    keys = [_key(method, pair, beta) for pair in zip(advantage, log_reference, strict=True)]
    policies = [_read(cache, key, log_reference.shape[1:]) for key in keys]
    missing = [index for index, policy in enumerate(policies) if policy is None]
    n = log_reference.shape[-1]
    if missing:
        flat = log_reference[missing].reshape(-1, n).contiguous()
        _announce(len(flat) * n**3 * 2e-11 * (10 + 22 * max(0.0, -math.log10(beta))) if beta else 0.0, n, beta)
        solved = reference_equilibrium.solve(advantage[missing].reshape(-1, n, n), flat, beta).log_policy
        for index, policy in zip(missing, solved.view(len(missing), -1, n), strict=True):
            _write(cache, keys[index], policy)
            policies[index] = policy
    policy = torch.stack([policy for policy in policies if policy is not None])
    flat = log_reference.reshape(-1, n)
    return _shaped(reference_equilibrium.recertify(advantage.reshape(-1, n, n), policy.view(-1, n), flat, beta), policy)


def _matrix_free(game: FiniteGame, log_reference: Tensor, beta: float, cache: Path) -> Equilibrium:
    """The equilibria (G, X, n) of all instances together, from one file."""
    method = f"{reference_equilibrium.matrix_free_method(beta)} of {type(game).__module__}.{type(game).__qualname__}"
    key = _key(method, (game.content, log_reference), beta)
    policy = _read(cache, key, log_reference.shape)
    if policy is None:
        if beta and isinstance(game, MatrixGame):  # games with a structure take fewer products
            _announce(game.work * len(log_reference) * 6e-10 * (100 + 5.5 / beta), log_reference.shape[-1], beta)
        policy = reference_equilibrium.solve_matrix_free(game, log_reference, beta).log_policy
        _write(cache, key, policy)
    return reference_equilibrium.recertify_matrix_free(game, policy, log_reference, beta)


def _announce(seconds: float, actions: int, beta: float) -> None:
    """Warn before a reference equilibrium is solved that takes long, as where beta is tiny.

    The estimates are for one core: a factorised Newton step takes about 2e-11 n^3 seconds, and 10 + 22 log10(1/beta)
    steps are needed; a product takes 6e-10 seconds per entry, and 100 + 5.5/beta products are needed.
    """
    if seconds > LONG:
        log.warning(
            "solving the reference equilibrium of %d actions at beta=%g may take about %.0f s; equilibrium=never "
            "leaves it out",
            actions,
            beta,
            seconds,
        )


def _shaped(flat: Equilibrium, like: Tensor) -> Equilibrium:
    """The equilibria of a batch with the batch dimensions of `like` (G, X, n)."""
    values = {name: getattr(flat, name).view(like.shape[:-1]) for name in ("exploitability", "floor", "unique")}
    return Equilibrium(flat.log_policy.view(like.shape), **values, method=flat.method)


def _summarised(equilibria: Equilibrium, beta: float) -> Certified:
    certified, unique = equilibria.certified.all(-1), equilibria.unique.all(-1)
    usable = (equilibria.certified & equilibria.determined(beta)).all(-1)
    count = len(certified)
    if not certified.all():
        log.warning("no certified equilibrium for %d of %d instances (exploitability up to %.1e): their KL columns "
                    "stay empty", int((~certified).sum()), count, equilibria.exploitability.max())  # fmt: skip
    elif not unique.all():
        log.warning("beta=0 leaves %d of %d instances more than one equilibrium, or none that is certified unique: "
                    "their KL columns stay empty", int((~unique).sum()), count)  # fmt: skip
    elif not usable.all():
        log.warning("beta=%g is so small that rounding moves the equilibrium of %d of %d instances: their KL columns "
                    "stay empty", beta, int((~usable).sum()), count)  # fmt: skip
    worst = int((equilibria.exploitability / equilibria.floor.clamp(max=CERTIFIED)).argmax())
    summary = {
        "method": equilibria.method,
        "exploitability": float(equilibria.exploitability.flatten()[worst]),
        "floor": float(equilibria.floor.flatten()[worst]),
        "certified": bool(certified.all()),
        "unique": bool(unique.all()),
    }
    return Certified(equilibria, equilibria.log_policy.where(usable[:, None, None], float("nan")), summary)


def _key(method: str, tensors: tuple[Tensor, ...], beta: float) -> str:
    """SHA-256 of a problem and of the method that solves it: the name of its file."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    content = hashlib.sha256(repr((reference_equilibrium.VERSION, method, shapes, beta)).encode())
    for tensor in tensors:
        content.update(np.ascontiguousarray(tensor.numpy()).data)
    return content.hexdigest()


def _digest(key: str, log_policy: np.ndarray) -> str:
    """SHA-256 of a policy and the problem that it solves."""
    return hashlib.sha256(key.encode() + np.ascontiguousarray(log_policy).tobytes()).hexdigest()


def _write(cache: Path, key: str, log_policy: Tensor) -> None:
    make_shared_folder(cache)
    array = log_policy.contiguous().numpy()
    with replacing(cache / f"{key}.npz", "wb") as stream:
        np.savez(stream, log_policy=array, digest=np.array(_digest(key, array)))


def _read(cache: Path, key: str, shape: tuple[int, ...]) -> Tensor | None:
    """The log-probabilities that were written for a problem; None where they are missing or damaged.

    The caller certifies them anew: the digest notices damage, the certificate whatever else is wrong.
    """
    arrays = read_arrays(cache / f"{key}.npz") or {}
    policy, digest = arrays.get("log_policy"), arrays.get("digest")
    if policy is None or digest is None or policy.dtype != np.float64 or policy.shape != tuple(shape):
        return None
    if digest.shape != () or str(digest) != _digest(key, policy) or not _normalised(policy):
        return None
    return torch.from_numpy(np.ascontiguousarray(policy))


def _normalised(log_policy: np.ndarray) -> bool:
    """True for logarithms (..., n) of probabilities that sum to 1; False where any is nan."""
    with np.errstate(over="ignore"):
        return bool((np.abs(np.exp(log_policy).sum(-1) - 1) < NORMALISED).all())

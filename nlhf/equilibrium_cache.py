"""Reference equilibria of a run's games, computed once and kept under runs_dir/.equilibria."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlhf import reference_equilibrium
from nlhf.files import read_arrays, replacing
from nlhf.games.base import LARGEST_DENSE, FiniteGame
from nlhf.links import make_shared_folder
from nlhf.reference_equilibrium import Equilibrium

log = logging.getLogger(__name__)
LARGEST = {"newton": 2500, "linear programme": 1000}  # actions up to which a matrix is factorised
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
    method = "newton" if beta > 0 else "linear programme"
    n = len(game.items)
    if choice == "never":
        return None
    entries = len(game.content) * len(game.contexts) * n * n
    factorised = n <= LARGEST[method] and entries <= max(LARGEST_DENSE, game.content.numel())
    if choice == "auto" and not factorised and game.work > WORK:
        log.warning("no reference equilibrium: %d actions take long; columns stay empty (equilibrium=always)", n)
        return None
    log_reference = log_reference.cpu()
    if not factorised:
        return _certify(_matrix_free(game.to(log_reference.device), log_reference, beta, cache), beta)
    advantage = game.dense().cpu()
    instances = max(len(advantage), len(log_reference))
    advantage = advantage.expand(instances, -1, -1, -1)
    log_reference = log_reference.expand(instances, -1, -1)
    paths = [cache / f"{_key(pair, beta)}.npz" for pair in zip(advantage, log_reference, strict=True)]
    missing = [index for index, path in enumerate(paths) if not _kept(path)]
    if missing:
        shape = (len(missing), *log_reference.shape[1:])
        solved = reference_equilibrium.solve(
            advantage[missing].reshape(-1, n, n), log_reference[missing].reshape(-1, n).contiguous(), beta
        )
        for position, index in enumerate(missing):
            _save(paths[index], solved, slice(position * shape[1], (position + 1) * shape[1]))
    return _certify(_load(paths, method), beta)


def _matrix_free(game: FiniteGame, log_reference: Tensor, beta: float, cache: Path) -> Equilibrium:
    """The equilibria of all instances together, from one file."""
    instances = max(len(game.content), len(log_reference))
    path = cache / f"{_key((game.content, log_reference), beta)}.npz"
    if not _kept(path):
        expanded = log_reference.expand(instances, -1, -1)
        _save(path, reference_equilibrium.solve_matrix_free(game, expanded, beta), slice(None))
    arrays = {name: torch.from_numpy(array) for name, array in (read_arrays(path) or {}).items()}
    return Equilibrium(**arrays, method=reference_equilibrium.matrix_free_method(beta))


def _kept(path: Path) -> bool:
    return "unique" in (read_arrays(path) or {})


def _certify(found: Equilibrium, beta: float) -> Certified:
    certified = found.certified(beta).all(-1)
    unique = found.unique.all(-1)
    usable = certified & unique
    if not certified.all():
        log.warning("no certified equilibrium for %d of %d instances (exploitability up to %.1e): their columns "
                    "stay empty", int((~certified).sum()), len(certified), found.exploitability.max())  # fmt: skip
    elif not unique.all():
        log.warning("beta=0 leaves %d of %d instances more than one equilibrium, or none that is certified unique: "
                    "their KL columns stay empty", int((~unique).sum()), len(unique))  # fmt: skip
    log_policy = found.log_policy.where(usable[:, None, None], float("nan"))
    summary = {
        "method": found.method,
        "exploitability": float(found.exploitability.max()),
        "floor": float(found.floor.max()),
        "certified": bool(certified.all()),
        "unique": bool(unique.all()),
    }
    return Certified(found, log_policy, summary)


def _key(tensors: tuple[Tensor, ...], beta: float) -> str:
    content = hashlib.sha256(repr((1, tuple(tensors[0].shape), beta)).encode())
    for tensor in tensors:
        content.update(np.ascontiguousarray(tensor.numpy()).data)
    return content.hexdigest()


def _save(path: Path, solved: Equilibrium, rows: slice) -> None:
    make_shared_folder(path.parent)
    arrays = {name: getattr(solved, name)[rows].numpy() for name in ("log_policy", "exploitability", "floor", "unique")}
    with replacing(path, "wb") as stream:
        np.savez(stream, **arrays)


def _load(paths: list[Path], method: str) -> Equilibrium:
    archives = [read_arrays(path) or {} for path in paths]
    stacked = {name: torch.from_numpy(np.stack([archive[name] for archive in archives])) for name in archives[0]}
    return Equilibrium(**stacked, method=method)

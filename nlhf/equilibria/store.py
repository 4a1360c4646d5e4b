"""Files of cached equilibria: a policy, and a digest that detects damage."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nlhf.io.arrays import read_arrays
from nlhf.io.files import replacing
from nlhf.io.links import make_shared_folder

VERSION = 3  # of the solvers: raise it when they change, so that cached equilibria are computed again
NORMALISED = 1e-9  # tolerance of the sum of a stored policy's probabilities


def key_of(method: str, tensors: tuple[Tensor, ...], beta: float) -> str:
    """SHA-256 of a problem and its method, the name of its file."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    content = hashlib.sha256(repr((VERSION, method, shapes, beta)).encode())
    for tensor in tensors:
        content.update(np.ascontiguousarray(tensor.numpy()).data)
    return content.hexdigest()


def digest_of(key: str, log_policy: np.ndarray) -> str:
    """SHA-256 of a policy and its problem."""
    return hashlib.sha256(key.encode() + np.ascontiguousarray(log_policy).tobytes()).hexdigest()


def write(cache: Path, key: str, log_policy: Tensor) -> None:
    """Store the log-probabilities of a problem."""
    make_shared_folder(cache)
    array = log_policy.contiguous().numpy()
    with replacing(cache / f"{key}.npz", "wb") as stream:
        np.savez(stream, log_policy=array, digest=np.array(digest_of(key, array)))


def read(cache: Path, key: str, shape: tuple[int, ...]) -> Tensor | None:
    """The log-probabilities stored for a problem; None if they are missing or damaged.

    The digest detects damage; the caller certifies the policy again, which detects every other error.
    """
    arrays = read_arrays(cache / f"{key}.npz") or {}
    policy, digest = arrays.get("log_policy"), arrays.get("digest")
    if policy is None or digest is None or policy.dtype != np.float64 or policy.shape != tuple(shape):
        return None
    if digest.shape != () or str(digest) != digest_of(key, policy) or not _normalised(policy):
        return None
    return torch.from_numpy(np.ascontiguousarray(policy))


def _normalised(log_policy: np.ndarray) -> bool:
    """True if logarithms (..., n) are of probabilities that sum to 1; False if any is nan."""
    with np.errstate(over="ignore"):
        return bool((np.abs(np.exp(log_policy).sum(-1) - 1) < NORMALISED).all())

"""Whether an equilibrium at beta = 0 is the only one of its game, and games grouped by the size of a support."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor, from_numpy, linalg

EPS = float(np.finfo(float).eps)


def unique_winners(advantage: Tensor, policy: Tensor) -> Tensor:
    """`certified_unique` of games (B, n, n) of any scale and policies (B, n), as tensors."""
    return from_numpy(certified_unique(scaled(advantage.numpy()), policy.numpy()))


def certified_unique(matrix: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """True if a game A (B, n, n) is certified to have one equilibrium only, at about p (B, n); shape (B).

    With S the support, p is the only equilibrium if (A p)_y < 0 outside S and the kernel of A_SS is a line: any other
    equilibrium q has q^T A p = 0, hence its support in S, hence A_SS q = 0. Skew-symmetric matrices have an even rank,
    so the kernel is a line only if S is odd, and then iff the second smallest singular value is above 0. The exact
    kernel differs from p by at most `error`: |A_SS p| and its rounding, over that value. So p must be larger than the
    error in S, and the gains outside must be negative even with it.

    Args:
        matrix: entries of at most 1 (`scaled`).
        policy: probabilities.
    """
    n = matrix.shape[-1]
    gain = (matrix @ policy[..., None])[..., 0]
    unique = np.zeros(len(policy), dtype=bool)
    for rows, support in by_size(policy > np.maximum(-gain, 0)):
        size = support.shape[1]
        if size % 2 == 0:
            continue
        inside, outside = gain[rows[:, None], support], gain[rows]
        np.put_along_axis(outside, support, -np.inf, -1)
        error = (np.linalg.norm(inside, axis=-1) + n * EPS) / _second_smallest(blocks(matrix, rows, support))
        positive = policy[rows[:, None], support].min(-1) > error
        unique[rows] = positive & (outside.max(-1) < -(size**0.5 * error + n * EPS))
    return unique


def _second_smallest(matrices: np.ndarray) -> np.ndarray:
    """Lower bounds > 0 of the second smallest singular values of (G, k, k), infinite for k = 1; shape (G)."""
    size = matrices.shape[-1]
    if size == 1:
        return np.full(len(matrices), np.inf)
    values = linalg.svdvals(from_numpy(matrices)).numpy()
    return np.asarray(np.maximum(values[:, -2] - 4 * size * EPS * values[:, 0], EPS**2))


def by_size(chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows (G) of `chosen` (B, n) with k true entries, and the indices of these (G, k), for every k > 0."""
    sizes = chosen.sum(-1)
    for size in sorted(set(sizes.tolist()) - {0}):
        rows = np.flatnonzero(sizes == size)
        yield rows, np.nonzero(chosen[rows])[1].reshape(len(rows), size)


def blocks(matrix: np.ndarray, rows: np.ndarray, support: np.ndarray) -> np.ndarray:
    """A_SS of the chosen games, (G, k, k)."""
    return np.asarray(matrix[rows[:, None, None], support[:, :, None], support[:, None, :]])


def scaled(matrix: np.ndarray) -> np.ndarray:
    """Matrices (B, n, n) over a power of 2, which rounds nothing, so that their largest entries are in [1/2, 1)."""
    largest = np.abs(matrix).max((-1, -2), keepdims=True)
    return np.asarray(np.ldexp(matrix, -np.frexp(largest)[1]))

"""Random streams: each seed has a separate stream for every use of randomness.

A game's instance, the reference, the initial policy, the feedback and an asking rule use separate streams. A seed
draws the same instance for every algorithm (comparisons are paired), and its draws do not depend on the other seeds.
All draws are made by NumPy on the CPU, for every device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STREAMS = ("game", "reference", "policy", "feedback", "asking")
LARGEST_SEED = 2**63 - 1  # tables, arrays and torch hold seeds as signed 64-bit integers
REFILL = 16  # requests for which numbers are drawn at once


def stream(seed: int, use: str, position: int = 0) -> np.random.Generator:
    """The generator of one seed for one `use` (an entry of STREAMS), after its first `position` numbers.

    Raises: ValueError for an unknown use.
    """
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(use),)))
    return np.random.Generator(bits.advance(position) if position else bits)


def step_stream(seed: int, use: str, iteration: int) -> np.random.Generator:
    """The generator of one seed for one `use` in one iteration, whatever the iterations before it drew.

    Raises: ValueError for an unknown use.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(use), iteration)))


class Uniforms:
    """Uniform numbers on [0, 1), float64, for a batch of seeds, each from its own stream.

    Only active seeds use numbers up, so that a seed's numbers depend only on how many it has used.

    Args:
        seeds: S of them.
        device: of the numbers; they are copied to it for many requests at once.
    """

    def __init__(self, seeds: list[int], device: torch.device) -> None:
        self.seeds, self.device = seeds, device
        self.position = np.zeros(len(seeds), np.int64)  # how many numbers each seed has used
        self._first, self._numbers = self.position, self._filled(0)

    def __call__(self, *shape: int, active: np.ndarray) -> Tensor:
        """Numbers of shape (S, *shape); seeds that are not `active`, (S) bool, do not use theirs up."""
        count = math.prod(shape)
        if (self.position - self._first + count > self._numbers.shape[1]).any():
            self._first, self._numbers = self.position, self._filled(count * REFILL)
        offset = self.position - self._first
        if (offset == offset[0]).all():
            numbers = self._numbers[:, offset[0] : offset[0] + count]
        else:
            index = self._numbers.new_tensor(offset[:, None] + np.arange(count)).long()
            numbers = self._numbers.gather(1, index)
        self.position = self.position + count * active
        return numbers.reshape(-1, *shape)

    def _filled(self, count: int) -> Tensor:
        import torch

        numbers = np.empty((len(self.seeds), count))
        for row, seed, position in zip(numbers, self.seeds, self.position.tolist(), strict=True):
            stream(seed, "feedback", position).random(out=row)
        return torch.from_numpy(numbers).to(self.device)

    def snapshot(self) -> list[int]:
        """The content of a checkpoint, with which a resumed run draws the same numbers."""
        return list(self.position.tolist())

    def restore(self, snapshot: list[Any]) -> None:
        """Continue from a snapshot."""
        self.position = np.array(snapshot, np.int64)
        self._first, self._numbers = self.position, self._filled(0)

"""Random streams: every use of randomness has a child of its own of every seed.

A game's instance, the reference, the initial policy and the feedback draw from separate streams, so that the seed draws
the same instance for every algorithm (comparisons are paired), and a seed's draws do not depend on the other seeds.
All draws are made on the CPU by numpy, whatever the device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STREAMS = ("game", "reference", "policy", "feedback")
LARGEST_SEED = 2**63 - 1  # tables, arrays and torch hold seeds as signed 64-bit integers
REFILL = 16  # requests that one visit to the generators serves


def stream(seed: int, use: str, position: int = 0) -> np.random.Generator:
    """The generator of one `use` (an entry of STREAMS) of one seed, past its first `position` numbers; the same bits at
    every call.

    Raises: ValueError for an unknown use.
    """
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(use),)))
    return np.random.Generator(bits.advance(position) if position else bits)


class Uniforms:
    """Uniform numbers on [0, 1), float64, for a batch of seeds, each from its own stream.

    Only seeds that are asked for move on, so that a seed's numbers depend on how many it has used and on nothing else.

    Args:
        seeds: S of them.
        device: where the numbers are wanted; they are copied there many requests at a time.
    """

    def __init__(self, seeds: list[int], device: torch.device) -> None:
        self.seeds, self.device = seeds, device
        self.position = np.zeros(len(seeds), np.int64)  # how many numbers each seed has used
        self._first, self._numbers = self.position, self._filled(0)

    def __call__(self, *shape: int, active: np.ndarray) -> Tensor:
        """Numbers of shape (S, *shape); those of seeds that are not `active` (S) bool are not used up."""
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
        """What a checkpoint must hold to go on with the same numbers."""
        return list(self.position.tolist())

    def restore(self, snapshot: list[Any]) -> None:
        """Take up where `snapshot` was taken."""
        self.position = np.array(snapshot, np.int64)
        self._first, self._numbers = self.position, self._filled(0)

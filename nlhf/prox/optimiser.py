"""The torch optimiser of the gradient engine, and its state as a `Memory` of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import torch

from nlhf.policies.base import Memory

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.prox.gradient import GradientProx


def make_optimiser(options: GradientProx, learned: dict[str, Tensor], memory: Memory | None) -> torch.optim.Optimizer:
    """A torch optimiser of `learned` that continues from `memory`."""
    rate, momentum = options.learning_rate, options.momentum
    optimiser: torch.optim.Optimizer
    if options.optimiser == "adam":
        optimiser = torch.optim.Adam(learned.values(), lr=rate, betas=(momentum, 0.999))
    else:
        optimiser_class = torch.optim.SGD if options.optimiser == "sgd" else torch.optim.RMSprop
        optimiser = optimiser_class(learned.values(), lr=rate, momentum=momentum)
    if memory is not None:
        for name, value in learned.items():
            moments = {key: moment.clone() for key, moment in memory.moments[name].items()}
            optimiser.state[value] = {**moments, "step": torch.tensor(float(memory.step))}
    return optimiser


def memory_of(optimiser: torch.optim.Optimizer, learned: dict[str, Tensor]) -> Memory:
    """The state of an optimiser; its step count is one number for the batch."""
    states = {name: optimiser.state[value] for name, value in learned.items()}
    steps = [int(state["step"]) for state in states.values() if "step" in state]
    moments = {
        name: {key: moment for key, moment in state.items() if key != "step" and hasattr(moment, "ndim")}
        for name, state in states.items()
    }
    return Memory(max(steps, default=0), moments)


def clipped(gradients: Sequence[Tensor], largest: float) -> tuple[Tensor, ...]:
    """Gradients (S, ...) scaled so that the norm of every seed is at most `largest`."""
    square = reduce(add, (gradient.flatten(1).square().sum(1) for gradient in gradients))
    shrink = (largest / square.sqrt()).clamp(max=1.0)
    return tuple(gradient * shrink.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients)

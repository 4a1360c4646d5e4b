"""The optimisers of the gradient engine, as in `torch.optim`; their state is the `Memory` of a policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import torch
from torch.optim.adam import adam

from nlhf.policies.base import Memory

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import TrainablePolicy
    from nlhf.prox.gradient import GradientProx

EPSILON = 1e-8  # added to the roots of squares
MOMENTS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg", "momentum_buffer"),
    "sgd": ("momentum_buffer",),
}


class Optimiser:
    """Trains a copy of a policy's parameters, in place; the policy's memory goes on.

    Attributes: `learned`, the copy by name, in which losses are differentiated.
    """

    def __init__(self, options: GradientProx, start: TrainablePolicy) -> None:
        self.options, self.steps = options, start.memory.step if start.memory else 0
        self.learned = {name: _copy(value).requires_grad_() for name, value in start.parameters.items()}
        self.moments = {
            name: {
                key: _copy(start.memory.moments[name][key]) if start.memory else torch.zeros_like(value.detach())
                for key in MOMENTS[options.optimiser]
            }
            for name, value in self.learned.items()
        }

    @property
    def memory(self) -> Memory:
        """The state; its step count is one number for the batch."""
        return Memory(self.steps, self.moments)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """One step along the gradients of `learned`, in its order, with a learning rate."""
        gradients = [gradient.contiguous() for gradient in gradients]  # the kernel of Adam ignores strides
        if self.options.weight_decay:
            for parameter in self.learned.values():
                parameter.mul_(1 - rate * self.options.weight_decay)
        if self.options.optimiser == "adam":
            self._adam(gradients, rate)
        else:
            self._momentum(gradients, rate)
        self.steps += 1

    def _adam(self, gradients: list[Tensor], rate: float) -> None:
        parameters, moments = list(self.learned.values()), list(self.moments.values())
        adam(
            parameters,
            gradients,
            [moment["exp_avg"] for moment in moments],
            [moment["exp_avg_sq"] for moment in moments],
            max_exp_avg_sqs=[],
            state_steps=[parameter.new_full((), self.steps, dtype=torch.float32) for parameter in parameters],
            lr=rate,
            beta1=self.options.momentum,
            beta2=0.999,
            eps=EPSILON,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
            fused=True,
        )

    def _momentum(self, gradients: list[Tensor], rate: float) -> None:
        """Gradient steps with momentum; rmsprop divides gradients by their root mean square."""
        for parameter, gradient, moment in zip(self.learned.values(), gradients, self.moments.values(), strict=True):
            if self.options.optimiser == "rmsprop":
                square = moment["square_avg"].mul_(0.99).addcmul_(gradient, gradient, value=0.01)
                gradient = gradient / square.sqrt().add_(EPSILON)
            parameter.sub_(moment["momentum_buffer"].mul_(self.options.momentum).add_(gradient), alpha=rate)


def learning_rate(options: GradientProx, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    rate, decay = options.learning_rate, options.decay_steps
    if step < options.warmup_steps:
        rate *= (step + 1) / options.warmup_steps
    return rate if decay is None else rate / math.sqrt(1 + step / decay)


def clipped(gradients: Sequence[Tensor], largest: float) -> tuple[Tensor, ...]:
    """Gradients (S, ...) scaled so that the norm of every seed is at most `largest`."""
    square = reduce(add, (gradient.flatten(1).square().sum(1) for gradient in gradients))
    shrink = (largest / square.sqrt()).clamp(max=1.0)
    return tuple(gradient * shrink.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients)


def _copy(value: Tensor) -> Tensor:
    """A copy in contiguous memory, without gradient."""
    return value.detach().clone(memory_format=torch.contiguous_format)

"""Gradient checkpointing: the backward pass computes the activations of each layer again (arXiv:1604.06174).

The checkpointing of transformers turns caches off, but completions are read after the cached keys and values of their
prompts. Here the keys and values enter and leave a layer as tensors, so a layer that is computed again does not append
its keys and values to the cache a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nlhf.config import ConfigError
from nlhf.language.caches import attends_everywhere, new_cache


def recompute_layers(module: torch.nn.Module, name: object) -> None:
    """Save the inputs of every decoder layer of a model of transformers instead of its activations.

    Args:
        name: of the model, for messages.

    Raises: ConfigError for a model without such layers, or with layers that do not attend to all positions.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers or not attends_everywhere(new_cache(module.config)):
        raise ConfigError(
            f"policy.recompute=true cannot recompute the layers of policy.model={name}: set policy.recompute=false and "
            "a smaller policy.micro_batch."
        )
    for layer in layers:
        layer.forward = partial(_output, _Plain(layer))


class _Plain(torch.nn.Module):
    """A layer with the forward method of its class."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.number = next(part.layer_idx for part in layer.modules() if hasattr(part, "layer_idx"))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The layer's output."""
        return type(self.layer).forward(self.layer, *inputs, **named)


class _KeysAndValues:
    """One layer's part of a cache, and what the layer appends to it."""

    def __init__(self, cache: Any, keys: Tensor | None, values: Tensor | None) -> None:
        self.cache, self.keys, self.values = cache, keys, values

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, with the new ones."""
        self.keys = keys if self.keys is None else torch.cat([self.keys, keys], -2)
        self.values = values if self.values is None else torch.cat([self.values, values], -2)
        return self.keys, self.values

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)


def _output(layer: _Plain, hidden: Tensor, *inputs: Any, **named: Any) -> Any:
    """The output of a layer; with gradients, its activations are not saved, and its cache is updated once."""
    if not torch.is_grad_enabled():
        return layer(hidden, *inputs, **named)
    from transformers import Cache

    weights: dict[str, Tensor] = dict(layer.named_parameters())  # of the policy that is evaluated now
    cache: Any = next((value for value in (*inputs, *named.values()) if isinstance(value, Cache)), None)
    states = None if cache is None else cache.layers[layer.number]

    def run(hidden: Tensor, keys: Tensor | None, values: Tensor | None) -> tuple[Any, Tensor | None, Tensor | None]:
        part = None if cache is None else _KeysAndValues(cache, keys, values)
        with_part: Callable[[Any], Any] = lambda value: part if value is cache else value  # noqa: E731
        arguments = (hidden, *map(with_part, inputs)), {key: with_part(value) for key, value in named.items()}
        output = torch.func.functional_call(layer, weights, *arguments, tie_weights=False)
        return output, *((None, None) if part is None else (part.keys, part.values))

    before = (states.keys, states.values) if states is not None and states.is_initialized else (None, None)
    output, keys, values = checkpoint(run, hidden, *before, use_reentrant=False, preserve_rng_state=False)
    if states is not None:
        if not states.is_initialized:
            states.lazy_initialization(keys, values)
        states.keys, states.values = keys, values
    return output

"""Caches of keys and values that grow in blocks, and the prefix that prompts share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nlhf.language.reading import Tokens

BLOCK = 32  # positions by which a cache grows
SHORTEST_PREFIX = 4  # tokens; a shorter prefix saves less than a further forward pass costs


@dataclass(frozen=True)
class ReadPrompts:
    """The state of a model after it has read n prompts.

    Args:
        cache: keys and values, or recurrent states, of transformers.
        logits: of the next token, (n, vocabulary).
        attention_mask: (n, length); prompts are padded on the left.
        last_positions: position id of each prompt's last token, (n, 1).
    """

    cache: Any
    logits: Tensor
    attention_mask: Tensor
    last_positions: Tensor


def new_cache(config: Any) -> Any:
    """An empty cache of transformers for a model; without gradients its layers grow in blocks."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    states: Any = DynamicCache(config=config)
    if not torch.is_grad_enabled():
        states.layers = [_growing()() if type(layer) is DynamicLayer else layer for layer in states.layers]
    return states


def attends_everywhere(states: Any) -> bool:
    """True if every layer of a cache holds all positions: padding may then stand between tokens.

    A sliding window counts padding as positions, and a recurrent state reads it.
    """
    from transformers.cache_utils import DynamicLayer

    return bool(states.layers) and all(type(layer) in (DynamicLayer, _growing()) for layer in states.layers)


def shared_prefix(prompts: Iterable[Tokens]) -> Tokens:
    """The tokens that all prompts start with, as those of a chat template; every prompt has further tokens.

    Empty if there is one prompt only, or if the prefix is too short.
    """
    rows = list(prompts)
    first, last = min(rows), max(rows)  # what these two share, all between them share
    length = min(len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))),
                 min(map(len, rows)) - 1)  # fmt: skip
    return first[:length] if len(rows) > 1 and length >= SHORTEST_PREFIX else ()


@cache
def _growing() -> type[Any]:
    """The class of growing layers; importing transformers takes seconds."""
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
        """Keys and values in buffers with spare positions, so that a further token copies nothing."""

        buffers: Any = None  # of keys and of values

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            end = start + key_states.shape[-2]
            states = key_states, value_states
            if self.buffers is None or end > self.buffers[0].shape[-2]:
                previous, self.buffers = (self.keys, self.values), tuple(_spacious(part, end) for part in states)
                for buffer, part in zip(self.buffers, previous if start else (), strict=False):
                    buffer[..., :start, :] = part
            for buffer, part in zip(self.buffers, states, strict=True):
                buffer[..., start:end, :] = part
            self.keys, self.values = (buffer[..., :end, :] for buffer in self.buffers)
            return self.keys, self.values

        def reorder_cache(self, rows: Tensor) -> None:
            if self.buffers is not None:
                length = self.get_seq_length()
                self.buffers = tuple(buffer.index_select(0, rows) for buffer in self.buffers)
                self.keys, self.values = (buffer[..., :length, :] for buffer in self.buffers)

    return GrowingLayer


def _spacious(states: Tensor, length: int) -> Tensor:
    """An empty buffer for keys or values of `length` positions and of some more."""
    rows, heads, _, size = states.shape
    return states.new_empty(rows, heads, -(-length // BLOCK) * BLOCK, size)

"""A multi-layer perceptron over features of the context: a neural policy whose metrics are all exact.

    logits(y | x) = log ref(y | x) + f(features(x))_y,       f = W_L relu(... relu(W_1 features + b_1) ...) + b_L

W_L = 0 and b = 0 initially, so that it starts at the reference, as a language model does. The weights of all seeds are
stacked: one batched product trains all seeds, independently of each other. Weights are float32; log-probabilities for
metrics are normalised in float64. In games without features, each context has a one-hot vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.numerics.streams import stream
from nlhf.policies.base import Memory, PolicyFamily, TrainablePolicy
from nlhf.policies.distributions import Categorical, rows

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nlhf.games.protocol import FiniteGame


@dataclass(frozen=True)
class Inputs:
    """The input of a network at some contexts, float32: features (1 or S, X, d) and log ref (S, X, Y)."""

    features: Tensor
    log_reference: Tensor


@dataclass(frozen=True, eq=False)
class MLPPolicy(TrainablePolicy):
    """Weights `w0`, `b0`, `w1` ... of shape (S, in, out) and (S, 1, out), and the inputs of the network."""

    weights: dict[str, Tensor]
    inputs: Inputs
    held_out_inputs: Inputs | None = None
    memory: Memory | None = None

    @cached_property
    def log_probabilities(self) -> Tensor:
        return self._logits(self.inputs, None, self.weights).double().log_softmax(-1)

    @property
    def held_out(self) -> Tensor | None:
        if self.held_out_inputs is None:
            return None
        return self._logits(self.held_out_inputs, None, self.weights).double().log_softmax(-1)

    @property
    def actions(self) -> int:
        return self.inputs.log_reference.shape[-1]

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.weights

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> MLPPolicy:
        return replace(self, weights=dict(parameters), memory=memory)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Categorical:
        return Categorical(self._logits(self.inputs, contexts, parameters or self.weights).log_softmax(-1))

    def save(self, folder: Path) -> None:
        """Write `policy.safetensors`: the weights of all seeds."""
        from safetensors.torch import save

        with replacing(folder / "policy.safetensors", "wb", sync=False) as stream:
            stream.write(save({name: value.cpu().contiguous() for name, value in self.weights.items()}))

    def _logits(self, inputs: Inputs, contexts: Tensor | None, weights: Mapping[str, Tensor]) -> Tensor:
        seeds, last = weights["b0"].shape[0], len(weights) // 2 - 1
        hidden = rows(inputs.features, contexts).expand(seeds, -1, -1)  # (S, B, d)
        for layer in range(last + 1):
            hidden = weights[f"b{layer}"].baddbmm(hidden, weights[f"w{layer}"])
            hidden = hidden.relu() if layer < last else hidden
        return hidden + rows(inputs.log_reference, contexts)


@dataclass(frozen=True)
class MLP(PolicyFamily):
    """Fully connected layers with ReLU; the hidden weights are drawn by the seed (He et al. 2015, arXiv:1502.01852).

    Args:
        hidden: units of each hidden layer; with [] the logits are linear in the features.
    """

    hidden: list[int]

    provides: ClassVar[frozenset[str]] = frozenset({"enumerate", "gradient", "sample"})
    random: ClassVar[bool] = True
    averaged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ConfigError(f"policy.hidden={self.hidden} has a layer without units: give counts of 1 or more.")

    def initial(
        self,
        log_reference: Tensor,
        game: FiniteGame,
        held_out: tuple[Tensor, Tensor] | None,
        seeds: list[int],
    ) -> MLPPolicy:
        features = game.features
        if features is None:
            features = log_reference.new_tensor(np.eye(len(game.contexts)))[None]
        layers = [features.shape[-1], *self.hidden, log_reference.shape[-1]]
        drawn = [self._weights(layers, stream(seed, "policy")) for seed in seeds]
        inputs = Inputs(features.float(), log_reference.float())
        return MLPPolicy(
            {name: inputs.features.new_tensor(np.stack([weights[name] for weights in drawn])) for name in drawn[0]},
            inputs,
            None if held_out is None else Inputs(held_out[1].float(), held_out[0].float()),
        )

    def _weights(self, layers: list[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        weights = {}
        for index, (size, width) in enumerate(pairwise(layers)):
            scale = math.sqrt(2 / size) if index < len(layers) - 2 else 0.0
            weights[f"w{index}"] = scale * rng.standard_normal((size, width))
            weights[f"b{index}"] = np.zeros((1, width))
        return weights

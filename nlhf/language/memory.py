"""The memory of one GPU that training a language model takes, estimated from the model's config.json alone.

The model is built without weights, on torch's device `meta`, and its layers are counted. Numbers of parameters are
exact; activations are sums over the linear layers and norms, and leave out what single kernels need for a moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from nlhf.config import ConfigError
from nlhf.language.lora import with_lora

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM

GB = 1e9
SETS = 3  # sets of trained weights besides gradient and moments: in the module, of the learner, and of an anchor
SINGLE = 4  # bytes of a float32
LORA_ABOVE = 200_000_000  # parameters above which `policy.lora=auto` means true
LLAMA = {"model_type": "llama", "vocab_size": 128_256, "head_dim": 128, "num_attention_heads": 32,
         "num_key_value_heads": 8}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {  # configs of models that presets name, for machines without a hub
    "meta-llama/Llama-3.2-1B-Instruct": LLAMA | {"head_dim": 64, "hidden_size": 2048, "intermediate_size": 8192,
                                                 "num_hidden_layers": 16, "tie_word_embeddings": True},
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA | {"hidden_size": 4096, "intermediate_size": 14_336,
                                                 "num_hidden_layers": 32, "tie_word_embeddings": False},
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The numbers of a model that decide its memory.

    Args:
        parameters: of the base model.
        trained: of one set of trained weights: LoRA matrices, or all weights.
        lora: the trained weights are LoRA matrices.
        layer: parameters of the largest decoder layer.
        layers: number of decoder layers.
        inputs: numbers that enter all layers for each token.
        singles, values: numbers that the backward pass of all layers needs for each token, in float32 and in the
            model's precision.
        cache: keys and values of one token in all layers.
        vocabulary: logits of one token.
    """

    parameters: int
    trained: int
    lora: bool
    layer: int
    layers: int
    inputs: int
    singles: int
    values: int
    cache: int
    vocabulary: int


@dataclass(frozen=True)
class Load:
    """What one process computes at once.

    Args:
        scored: completions of a micro-batch.
        sampled: completions that are drawn together.
        prompt, new: tokens of the longest prompt, and of a completion.
        models: caches of the sampler; a mixture has two.
        completions: of one prompt, which is read once for all of them.
    """

    scored: int
    sampled: int
    prompt: int
    new: int
    models: int = 2
    completions: int = 1


@dataclass(frozen=True)
class Estimate:
    """Bytes on one GPU. Scoring and sampling do not happen at the same time."""

    weights: float
    adapters: float
    gradients: float
    adam: float
    activations: float
    logits: float
    kv_cache: float
    sampled_logits: float

    @property
    def fixed(self) -> float:
        """What does not depend on the number of completions."""
        return self.weights + self.adapters + self.gradients + self.adam

    @property
    def peak(self) -> float:
        """The largest sum at one time."""
        return self.fixed + max(self.activations + self.logits, self.kv_cache + self.sampled_logits)

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "trained weights": self.adapters,
            "gradients": self.gradients,
            "Adam": self.adam,
            "activations": self.activations,
            "logits": self.logits,
        }
        listed = ", ".join(f"{name} {value / GB:.3g}" for name, value in parts.items())
        return f"{listed}; while sampling KV cache {self.kv_cache / GB:.3g}, logits {self.sampled_logits / GB:.3g}"


def estimate(
    shape: Shape, load: Load, *, width: int, processes: int, spread: bool, recompute: bool = False
) -> Estimate:
    """The memory of the GPU that holds the optimiser.

    Args:
        width: bytes of a base weight.
        spread: each of the processes holds a slice of every layer, and at most two whole layers at a time.
        recompute: the inputs of all layers, their keys and values, and the activations of one layer are saved.
    """
    whole = shape.parameters * width
    slices = whole / processes + 2 * shape.layer * width
    tokens = load.scored * load.new + -(-load.scored // load.completions) * load.prompt
    activations: float = tokens * (shape.singles * SINGLE + shape.values * width)
    logits = load.scored * load.new * shape.vocabulary * (width + 3 * SINGLE)
    if recompute:  # a layer's activations are computed when the logits are no longer needed
        activations = tokens * (shape.inputs + shape.cache) * width + max(0, activations / shape.layers - logits)
    return Estimate(
        weights=min(whole, slices) if spread else whole,
        adapters=shape.trained * SINGLE * (SETS if shape.lora else SETS - 1),
        gradients=2 * shape.trained * SINGLE,  # of a micro-batch, and their sum
        adam=2 * shape.trained * SINGLE,
        activations=activations,
        logits=logits,
        kv_cache=load.models * load.sampled * (load.prompt + load.new) * shape.cache * width,
        sampled_logits=load.sampled * shape.vocabulary * (load.models * width + SINGLE + 2 * 8),
    )


def shape_of(options: CausalLM, source: str) -> Shape:
    """The shape of a model.

    Args:
        source: a folder, or a name on the hub; nothing is downloaded.

    Raises: ConfigError for a model whose config is not on this machine.
    """
    return _shape(options, source)


@cache
def _shape(options: CausalLM, source: str) -> Shape:
    from transformers import AutoConfig, AutoModelForCausalLM

    code = {"trust_remote_code": options.trust_remote_code}
    if source in SHAPES:
        entries = dict(SHAPES[source])
        config = AutoConfig.for_model(entries.pop("model_type"), **entries)
    else:
        try:
            config = AutoConfig.from_pretrained(source, local_files_only=True, **code)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"policy.model={source} has no config.json on this machine, from which its memory is estimated: give a "
                "folder."
            ) from error
    text = config.get_text_config()
    with torch.device("meta"):
        from_config: Any = AutoModelForCausalLM.from_config
        module = from_config(config, **code)
        parameters = sum(value.numel() for value in module.parameters())
        lora = options.lora is True or (options.lora == "auto" and parameters > LORA_ABOVE)
        names = set(module._no_split_modules or ())
        layers = [layer for layer in module.modules() if type(layer).__name__ in names]
        layer = max((sum(value.numel() for value in layer.parameters()) for layer in layers), default=parameters)
        singles, values, cache_size = 0, 0, 0
        for name, part in (entry for one in layers for entry in one.named_modules()):
            weight = getattr(part, "weight", None)
            if weight is not None and weight.ndim == 2:
                inputs = getattr(part, "in_features", weight.shape[0])  # GPT-2's layers are transposed
                outputs = weight.numel() // inputs
                singles += inputs  # LoRA reads a copy in float32
                values += outputs
                cache_size += outputs if name.rpartition(".")[2] in ("k_proj", "v_proj") else 0
            elif weight is not None:
                singles += 2 * weight.numel()
        # Besides: rotated queries, keys and values of all heads, and the activation's result of the perceptron
        widest = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
        values += len(layers) * (3 * text.hidden_size + widest)
        adapted = with_lora(options, module)[0] if lora else module
        trained = [value for name, value in adapted.named_parameters() if not lora or ".lora_" in name]
    return Shape(
        parameters=parameters,
        trained=sum(value.numel() for value in trained),
        lora=lora,
        layer=layer,
        layers=max(1, len(layers)),
        inputs=len(layers) * text.hidden_size,
        singles=singles,
        values=values,
        cache=cache_size or 2 * text.num_hidden_layers * text.hidden_size,
        vocabulary=text.vocab_size,
    )

"""Loading of a causal language model, and the choice of its trainable weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.language.memory import LORA_ABOVE
from nlhf.language.model import LanguageModel
from nlhf.language.recomputed import recompute_layers
from nlhf.language.recurrent import check_recurrent
from nlhf.language.sharding import spread
from nlhf.models.content import in_memory
from nlhf.models.tokens import end_tokens
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM


@cache
def load(options: CausalLM, seed: int, device: str) -> LanguageModel:
    """The model that a policy family describes, with the initial weights of a seed.

    Raises: ConfigError for a model that does not exist or cannot be used.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ConfigError('policy=causal_lm needs the extra lm: pip install -e ".[lm]"') from error
    from nlhf.models.bundled import bundled_model, load_complete

    half = options.dtype == "bfloat16" or (options.dtype == "auto" and device != "cpu")
    with options.model.loading() as source:
        path = str(bundled_model()) if source == "bundled" else source
        keywords: dict[str, Any] = {
            "trust_remote_code": options.trust_remote_code,
            "local_files_only": Path(path).is_dir(),
        }
        tokenizer = AutoTokenizer.from_pretrained(path, **keywords)
        dtype = torch.bfloat16 if half else torch.float32
        module: Any = load_complete(AutoModelForCausalLM, path, dtype=dtype, **keywords)
        if not is_spread(options, module, device):
            return wrapped(options, in_memory(module).to(device), tokenizer, seed)
        model = wrapped(options, module, tokenizer, seed)
        spread(model, torch.device(device))
    return model


def is_spread(options: CausalLM, module: torch.nn.Module, device: str) -> bool:
    """True if each process holds a part of the base model only.

    Raises: ConfigError for policy.shard=true without other processes or without LoRA.
    """
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    lora = trains_lora(options, module)
    if options.shard is True and not (several and lora):
        problem, remedy = ("a model of this size trains all weights", "set policy.lora=true")
        if not several:
            problem, remedy = "there is one process", "start the command with torchrun, or set policy.shard=auto"
        raise ConfigError(f"policy.shard=true spreads a base model over several processes, but {problem}: {remedy}.")
    if not several or not lora or options.shard is False or options.recompute:
        return False
    return options.shard is True or not fits(module, device)


def fits(module: torch.nn.Module, device: str) -> bool:
    """True if a copy of the module leaves a third of the device's memory for everything else."""
    if not device.startswith("cuda"):
        return True
    total: int = torch.cuda.get_device_properties(device).total_memory
    return sum(value.nbytes for value in module.parameters()) < 2 / 3 * total


def trains_lora(options: CausalLM, module: torch.nn.Module) -> bool:
    """True if LoRA matrices are trained instead of all weights."""
    large = sum(value.numel() for value in module.parameters()) > LORA_ABOVE
    return options.lora is True or (options.lora == "auto" and large)


def wrapped(options: CausalLM, module: torch.nn.Module, tokenizer: Any, seed: int) -> LanguageModel:
    """The policy's model from a model of transformers and its tokenizer; trains LoRA matrices, or all weights.

    Raises: ConfigError for a model without an end token, and for layers that LoRA or the sampler cannot use.
    """
    if not end_tokens(module, tokenizer):
        raise ConfigError(f"policy.model={options.model} has no end token (eos_token): give a model with one.")
    module.eval().requires_grad_(False)
    check_recurrent(LanguageModel(options, module, module, tokenizer, {}))
    base = module
    if trains_lora(options, module):
        from nlhf.language.lora import with_lora

        module, base = with_lora(options, module)
        trainable = {name: value for name, value in module.named_parameters() if ".lora_" in name}
    else:
        trainable = dict(module.named_parameters())
    module.requires_grad_(False)
    if options.recompute:
        recompute_layers(module, options.model)
    return LanguageModel(options, module, base, tokenizer, dict(_initial(trainable, seed)))


def _initial(trainable: Mapping[str, torch.nn.Parameter], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Initial weights with a dimension for the seed: the model's own, and LoRA's A uniform as in its paper."""
    rng = stream(seed, "policy")
    for name, value in trainable.items():
        start = value.detach()
        if ".lora_A." in name:
            start = start.new_tensor(rng.uniform(-1, 1, start.shape) / np.sqrt(start.shape[1]))
        yield name, start[None].to(torch.promote_types(start.dtype, torch.float32))

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
from nlhf.language.model import LanguageModel
from nlhf.language.recurrent import check_recurrent
from nlhf.models.content import in_memory
from nlhf.models.tokens import end_tokens
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM

LORA_ABOVE = 200_000_000  # parameters above which `policy.lora=auto` means true


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
        module: Any = in_memory(load_complete(AutoModelForCausalLM, path, dtype=dtype, **keywords)).to(device)
    return wrapped(options, module, tokenizer, seed)


def wrapped(options: CausalLM, module: torch.nn.Module, tokenizer: Any, seed: int) -> LanguageModel:
    """The policy's model from a model of transformers and its tokenizer; trains LoRA matrices, or all weights.

    Raises: ConfigError for a model without an end token, and for layers that LoRA or the sampler cannot use.
    """
    if not end_tokens(module, tokenizer):
        raise ConfigError(f"policy.model={options.model} has no end token (eos_token): give a model with one.")
    module.eval().requires_grad_(False)
    check_recurrent(LanguageModel(options, module, module, tokenizer, {}))
    size = sum(value.numel() for value in module.parameters())
    base = module
    if options.lora is True or (options.lora == "auto" and size > LORA_ABOVE):
        from nlhf.language.lora import with_lora

        module, base = with_lora(options, module)
        trainable = {name: value for name, value in module.named_parameters() if ".lora_" in name}
    else:
        trainable = dict(module.named_parameters())
    module.requires_grad_(False)
    return LanguageModel(options, module, base, tokenizer, dict(_initial(trainable, seed)))


def _initial(trainable: Mapping[str, torch.nn.Parameter], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Initial weights with a dimension for the seed: the model's own, and LoRA's A uniform as in its paper."""
    rng = stream(seed, "policy")
    for name, value in trainable.items():
        start = value.detach()
        if ".lora_A." in name:
            start = start.new_tensor(rng.uniform(-1, 1, start.shape) / np.sqrt(start.shape[1]))
        yield name, start[None].to(torch.promote_types(start.dtype, torch.float32))

"""A check of models with recurrent layers: not all of them can continue from the cached state of a prompt."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from nlhf.config import ConfigError
from nlhf.language.scoring import tempered

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel

PROMPTS = ((1, 2, 3, 4), (2,), (2,), (3, 1, 2))  # token ids
COMPLETIONS = ((3, 1, 2, 4), (1, 3), (4, 4, 3, 2, 1), (1, 2, 3, 1))


def check_recurrent(model: LanguageModel) -> None:
    """Check that a model with recurrent layers can score completions after a cached prompt.

    Some architectures lose the cached state when several tokens follow it. The check compares log-probabilities with
    and without the cache. Models with attention layers only are not checked.

    Raises: ConfigError if the log-probabilities differ or cannot be computed.
    """
    from transformers import DynamicCache

    module: Any = model.base
    if "past_key_values" not in signature(module.forward).parameters:
        raise ConfigError(_refusal(model, "its forward pass takes no cache"))
    if not any(hasattr(layer, "recurrent_states") for layer in DynamicCache(config=module.config).layers):
        return
    vocabulary = module.config.get_text_config().vocab_size
    prompts, completions = (
        [tuple(token % vocabulary for token in row) for row in rows] for rows in (PROMPTS, COMPLETIONS)
    )
    try:
        with torch.no_grad():
            cached = model.log_prob(None, prompts, completions)
            uncached = torch.stack([_uncached(model, *pair) for pair in zip(prompts, completions, strict=True)])
    except (RuntimeError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(_refusal(model, " ".join(str(error).split())[:100])) from error
    tolerance = 1e-2 if next(module.parameters()).dtype == torch.float32 else 1.0
    if not (cached - uncached).abs().max() < tolerance:
        raise ConfigError(_refusal(model, "they lose the state of the prompt when several tokens follow it"))


def _uncached(model: LanguageModel, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
    """The log-probability of a completion from one forward pass without a cache."""
    tokens = torch.tensor([prompt + completion], device=model.device)
    logits = tempered(model, model.base(input_ids=tokens, use_cache=False).logits[0, len(prompt) - 1 : -1])
    return torch.gather(logits.log_softmax(-1), -1, tokens[0, len(prompt) :, None]).sum()


def _refusal(model: LanguageModel, reason: str) -> str:
    """The error message for a model that cannot be used."""
    kind = getattr(model.base.config, "model_type", type(model.base).__name__)
    return (
        f"policy.model={model.options.model} ({kind}) has recurrent layers that cannot be used here ({reason}): give a "
        "model of attention layers, such as llama, qwen2 or gemma3."
    )

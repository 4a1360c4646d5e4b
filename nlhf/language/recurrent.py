"""Models with recurrent layers. Not all of them can read a completion behind the cached state of its prompt."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel

PROMPTS = ((1, 2, 3, 4), (2,), (2,), (3, 1, 2))  # token ids
COMPLETIONS = ((3, 1, 2, 4), (1, 3), (4, 4, 3, 2, 1), (1, 2, 3, 1))


def check_recurrent(model: LanguageModel) -> None:
    """Compare log-probabilities behind cached prompts to those of whole texts, where a model has recurrent layers.

    Some architectures forget the state when several tokens follow it. Models of attention layers are not checked.

    Raises: ConfigError where they differ, or cannot be computed.
    """
    from transformers import DynamicCache

    module: Any = model.base
    if "past_key_values" not in signature(module.forward).parameters:
        raise ConfigError(_excuse(model, "it takes no cache of its prompts"))
    if not any(hasattr(layer, "recurrent_states") for layer in DynamicCache(config=module.config).layers):
        return
    size = module.config.get_text_config().vocab_size
    prompts, completions = ([tuple(token % size for token in row) for row in rows] for rows in (PROMPTS, COMPLETIONS))
    try:
        with torch.no_grad():
            cached = model.log_prob_here(None, prompts, completions)
            whole = torch.stack([_whole(model, *pair) for pair in zip(prompts, completions, strict=True)])
    except (RuntimeError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(_excuse(model, " ".join(str(error).split())[:100])) from error
    tolerance = 1e-2 if next(module.parameters()).dtype == torch.float32 else 1.0
    if not (cached - whole).abs().max() < tolerance:
        raise ConfigError(_excuse(model, "they forget the state of the prompt where several tokens follow it"))


def _whole(model: LanguageModel, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
    """The log-probability of a completion by one pass without a cache."""
    tokens = torch.tensor([prompt + completion], device=model.device)
    logits = model.base(input_ids=tokens, use_cache=False).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
    return torch.gather(logits, -1, tokens[0, len(prompt) :, None]).sum()


def _excuse(model: LanguageModel, reason: str) -> str:
    kind = getattr(model.base.config, "model_type", type(model.base).__name__)
    return (
        f"policy.model={model.options.model} ({kind}) has recurrent layers that cannot be used here ({reason}): give a "
        "model of attention layers, such as llama, qwen2 or gemma3."
    )

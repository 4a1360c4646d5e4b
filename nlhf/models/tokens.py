"""Chat template, longest input and end tokens of a model of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

POSITIONS = ("max_position_embeddings", "max_seq_len")  # keys of configs


class OverlongPromptError(ConfigError):
    """A prompt that leaves no room for a completion within the model's positions.

    Args:
        fact: the lengths, without a remedy.
        room: tokens that the prompt leaves for a completion; 0 or less if the prompt itself is too long.
    """

    def __init__(self, fact: str, room: int) -> None:
        super().__init__(f"{fact}: leave it out" + (f", or give {room} or less." if room > 0 else "."))
        self.fact, self.room = fact, room


def rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]], key: str, **options: Any) -> str:
    """Messages as text by the chat template. It contains all special tokens, so the tokenizer must not add any.

    Args:
        key: the model in the error message, `policy.model=NAME`.
        options: of `apply_chat_template`.

    Raises: ConfigError for messages that the template refuses.
    """
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))
    except Exception as error:  # of jinja2, or of the code of the template
        roles = ", ".join(str(message.get("role")) for message in messages)
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{key} has a chat template that refuses messages of the roles {roles} ({reason}): change the roles, or "
            "give another model."
        ) from error


def max_positions(module: Module) -> int | None:
    """The largest number of tokens that a model can read; None if its config names no limit.

    RoBERTa and similar models count positions from their padding token on, so they never use the first ones.
    """
    config: Any = module.config
    config = config.get_text_config()
    limits = [value for name in POSITIONS if isinstance(value := getattr(config, name, None), int) and value > 0]
    part: Any
    for name, part in module.named_modules():
        padding = getattr(part, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            limits.append(int(part.num_embeddings) - int(padding) - 1)
    return min(limits, default=None)


def end_tokens(module: Module, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a completion, from the tokenizer, the generation config and the config.

    The tokenizer's end token comes first, if it has one.
    """
    config: Any = module.config
    sources = (tokenizer, getattr(module, "generation_config", None), config, config.get_text_config())
    ends: dict[int, None] = {}
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        tokens = value if isinstance(value, list | tuple) else [value]
        ends |= {int(token): None for token in tokens if token is not None and token >= 0}
    return tuple(ends)

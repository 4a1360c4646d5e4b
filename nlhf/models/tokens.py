"""What a model of transformers can read: chat messages through its template, its positions, and its end tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

POSITIONS = ("max_position_embeddings", "max_seq_len")  # keys of configs


def rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]], key: str, **options: Any) -> str:
    """The text that the chat template makes of messages. It has all special tokens, so tokenize it without more.

    Args:
        key: names the model in the error message, `policy.model=NAME`.
        options: of `apply_chat_template`.

    Raises: ConfigError for messages that the template refuses.
    """
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))
    except Exception as error:  # of jinja2, or whatever the template's own code raises
        roles = ", ".join(str(message.get("role")) for message in messages)
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{key} has a chat template that refuses messages of the roles {roles} ({reason}): change the roles, or "
            "give another model."
        ) from error


def max_positions(module: Module) -> int | None:
    """The number of tokens that a model can read at most; None where its config names no limit.

    RoBERTa and its relatives count positions from their padding token on, so the first ones are never used.
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
    """The tokens that end a completion: the tokenizer's, those of the generation config, and the config's.

    The tokenizer's comes first, if it has one.
    """
    config: Any = module.config
    sources = (tokenizer, getattr(module, "generation_config", None), config, config.get_text_config())
    ends: dict[int, None] = {}
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        ends |= {int(token): None for token in (value if isinstance(value, list | tuple) else [value])
                 if token is not None and token >= 0}  # fmt: skip
    return tuple(ends)

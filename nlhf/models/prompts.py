"""Prompts as texts or chat messages, and 800 bundled ones from templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nlhf.config import ConfigError, whole_text

Message = Mapping[str, Any]  # with `role` and `content`
Prompt = str | Sequence[Message]
TOPICS = (
    "the sea", "a rainy day", "bread", "mountains", "a good friend", "the moon", "bicycles", "a library", "gardens",
    "winter", "music", "an old house", "birds", "tea", "a long journey", "the stars", "a village market", "chess",
    "a river", "cooking", "trains", "a school play", "bees", "photography", "a new job", "patience", "cats", "maps",
    "a birthday", "the wind",
)  # fmt: skip
FURTHER_TOPICS = (
    "a bridge", "honey", "the desert", "a lighthouse", "snow", "painting", "a train station", "horses", "coffee",
    "a small island", "clouds", "a kitchen", "football", "an old map", "butterflies", "a campfire", "letters", "apples",
    "a school bus", "sleep", "a thunderstorm", "puppets", "wool", "a ferry", "owls", "a museum", "a bakery",
    "swimming", "a neighbour", "candles", "the harvest", "kites", "a clock", "dancing", "frogs", "a market stall",
    "sailing", "a grandmother", "stones", "a first day at school", "rice", "a carpenter", "the sunrise", "laughter",
    "a picnic", "whales", "a notebook", "knitting", "a waterfall", "a window",
)  # fmt: skip
TEMPLATES = (
    "Write one sentence about {}.", "Why do people like {}?", "Describe {} to a child.", "Give a short fact about {}.",
    "Write the first line of a story about {}.", "What would you tell a stranger about {}?",
    "Say something kind about {}.", "What is surprising about {}?", "Write a two-line poem about {}.",
    "What can one learn from {}?",
)  # fmt: skip


class ChatText(str):
    """A chat as the text that judges read, together with its messages."""

    messages: tuple[Message, ...]

    def __new__(cls, text: str, messages: Sequence[Message] = ()) -> ChatText:
        chat = super().__new__(cls, text)
        chat.messages = tuple(messages)
        return chat


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text. Several messages follow their roles; `messages` recovers them from the text."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return ChatText(prompt[0]["content"], prompt)
    return ChatText("\n\n".join(f"{message['role']}: {message['content']}" for message in prompt), prompt)


def messages(prompt: Prompt) -> list[Message]:
    """A prompt as chat messages; a plain text is one message of the user."""
    if isinstance(prompt, str):
        return list(getattr(prompt, "messages", None) or [{"role": "user", "content": prompt}])
    return list(prompt)


def dialogue_text(spoken: Sequence[Message]) -> ChatText:
    """What follows a prompt in a dialogue: the first answer, and then sentences and answers after their roles."""
    first, *later = spoken
    text = "\n\n".join([first["content"], *(f"{message['role']}: {message['content']}" for message in later)])
    return ChatText(text, spoken)


def spoken_after(completion: str) -> list[Message]:
    """The messages of a completion: one answer, or those of a `dialogue_text`."""
    return list(getattr(completion, "messages", None) or [{"role": "assistant", "content": completion}])


def answers_in(completion: str) -> list[str]:
    """The policy's answers in a completion: one, or those of a `dialogue_text`."""
    return [message["content"] for message in spoken_after(completion) if message["role"] == "assistant"]


def bundled_prompts(count: int = 800) -> list[Prompt]:
    """The last `count` of 800 different prompts.

    They are every template with every topic, in a fixed random order. The last 300 have other topics than the others.
    """
    further, last = (_of_topics(topics) for topics in (FURTHER_TOPICS, TOPICS))
    return [*further, *last][-count:]


def _of_topics(topics: Sequence[str]) -> list[Prompt]:
    prompts: list[Prompt] = [template.format(topic) for topic in topics for template in TEMPLATES]
    return [prompts[index] for index in np.random.default_rng(0).permutation(len(prompts))]


def checked_prompt(prompt: Any, where: str) -> Prompt:
    """A prompt that is a text or a list of messages. Text parts of a message become one text.

    Args:
        prompt: any JSON value.
        where: the line or row, for the error message.

    Raises: ConfigError.
    """
    whole_text(json.dumps(prompt, ensure_ascii=False), where)
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    if isinstance(prompt, list) and prompt:
        return [_message(message, where) for message in prompt]
    raise ConfigError(
        f"{where} has an empty prompt, or one of another kind: give a text, or a list of messages with `role` and "
        "`content`."
    )


def _message(message: Any, where: str) -> Message:
    """A message whose content is one text. The text parts of OpenAI's format are joined by line feeds."""
    remedy = 'write {"role": "user", "content": "..."}.'
    if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
        raise ConfigError(f"{where} has a message without `role` and `content`, {json.dumps(message)[:60]}: {remedy}")
    content = message["content"]
    if isinstance(content, str):
        return message
    parts: list[Any] = content if isinstance(content, list) and content else [None]
    texts = [part["text"] for part in parts if _is_text_part(part)]
    if len(texts) < len(parts):
        raise ConfigError(
            f"{where} has a message whose content is not text, {json.dumps(content)[:60]}: models and "
            f"judges read text only, {remedy}"
        )
    return {**message, "content": "\n".join(texts)}


def _is_text_part(part: Any) -> bool:
    """True for a text part of a content in OpenAI's format."""
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)

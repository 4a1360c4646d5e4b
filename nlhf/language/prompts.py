"""Prompts: a few hundred that are written from templates, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nlhf.config import ConfigError, input_file

Prompt = str | Sequence[Mapping[str, str]]
TOPICS = (
    "the sea", "a rainy day", "bread", "mountains", "a good friend", "the moon", "bicycles", "a library", "gardens",
    "winter", "music", "an old house", "birds", "tea", "a long journey", "the stars", "a village market", "chess",
    "a river", "cooking", "trains", "a school play", "bees", "photography", "a new job", "patience", "cats", "maps",
    "a birthday", "the wind",
)  # fmt: skip
TEMPLATES = (
    "Write one sentence about {}.", "Why do people like {}?", "Describe {} to a child.", "Give a short fact about {}.",
    "Write the first line of a story about {}.", "What would you tell a stranger about {}?",
    "Say something kind about {}.", "What is surprising about {}?", "Write a two-line poem about {}.",
    "What can one learn from {}?",
)  # fmt: skip


def written() -> list[Prompt]:
    """300 prompts, every template with every topic, in an order that is always the same."""
    everything: list[Prompt] = [template.format(topic) for topic in TOPICS for template in TEMPLATES]
    return [everything[index] for index in np.random.default_rng(0).permutation(len(everything))]


def read(path: str) -> list[Prompt]:
    """The prompts of a jsonl file, one object with `prompt` a line: text, or a list of messages with role and content.

    Raises: ConfigError for another file.
    """
    found: list[Prompt] = []
    text = input_file(path, "game.path").read_text(encoding="utf-8")
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
        try:
            prompt: Any = json.loads(line)["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"game.path={path}: line {number} has no prompt: give a JSON object with the key "
                              "`prompt` in each line.") from error  # fmt: skip
        messages = isinstance(prompt, list) and prompt and all(
            isinstance(message, dict) and {"role", "content"} <= message.keys() for message in prompt
        )  # fmt: skip
        if not messages and not (isinstance(prompt, str) and prompt.strip()):
            raise ConfigError(f"game.path={path}: line {number} has an empty prompt, or one of another kind: give a "
                              "text, or a list of messages with `role` and `content`.")  # fmt: skip
        found.append(prompt)
    return found

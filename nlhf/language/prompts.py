"""Prompts: a few hundred that are written from templates, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nlhf.config import ConfigError, whole_text
from nlhf.inputs import InputFile
from nlhf.language.content import InputDataset
from nlhf.tidy import distinct_keys

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


def words(prompt: Prompt) -> str:
    """A prompt as judges read it: a text, or messages, each behind its role where there are several."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def written() -> list[Prompt]:
    """300 prompts, every template with every topic, in an order that is always the same."""
    everything: list[Prompt] = [template.format(topic) for topic in TOPICS for template in TEMPLATES]
    return [everything[index] for index in np.random.default_rng(0).permutation(len(everything))]


def read(file: InputFile) -> list[Prompt]:
    """The prompts of a jsonl file, one object with `prompt` a line: text, or a list of messages with role and content.

    Raises: ConfigError for another file.
    """
    found: list[Any] = []
    for number, line in file.lines():
        try:
            found.append(json.loads(line, object_pairs_hook=distinct_keys)["prompt"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file.name}: line {number} has no prompt, or two: give a JSON object with the key "
                              "`prompt` in each line.") from error  # fmt: skip
    return _checked(found, f"{file.name}: line")


def of_dataset(name: InputDataset, split: str) -> list[Prompt]:
    """The column `prompt` of a dataset of Hugging Face, a name on the hub or a folder.

    Raises: ConfigError for a dataset that is not there, or has no prompts.
    """
    try:
        from datasets import load_dataset  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(f"game.dataset={name} needs the package datasets: pip install datasets") from error
    try:
        with name.unchanged() as source:
            rows = load_dataset(source, split=split)
    except ConfigError:
        raise
    except Exception as error:  # of many kinds, by what is not there
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"game.dataset={name}, game.split={split} cannot be loaded ({reason}): give a folder, or a "
                          "name on the hub, and one of its splits.") from error  # fmt: skip
    if "prompt" not in rows.column_names:
        raise ConfigError(f"game.dataset={name} has the columns {', '.join(rows.column_names)} and no `prompt`: give "
                          "another dataset.")  # fmt: skip
    return _checked(list(rows["prompt"]), f"game.dataset={name}: row")


def _checked(prompts: list[Any], place: str) -> list[Prompt]:
    """Prompts that are texts or lists of messages; `place` and a number, from 1, tell where one is not."""
    for number, prompt in enumerate(prompts, start=1):
        messages = isinstance(prompt, list) and prompt and all(
            isinstance(message, dict) and {"role", "content"} <= message.keys() for message in prompt
        )  # fmt: skip
        if not messages and not (isinstance(prompt, str) and prompt.strip()):
            raise ConfigError(f"{place} {number} has an empty prompt, or one of another kind: give a text, or a list "
                              "of messages with `role` and `content`.")  # fmt: skip
        whole_text(json.dumps(prompt, ensure_ascii=False), f"{place} {number}")
    return prompts

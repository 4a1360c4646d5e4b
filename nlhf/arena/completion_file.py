"""Files of completions as contestants of an arena."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nlhf.config import ConfigError, whole_text
from nlhf.io.inputs import InputFile
from nlhf.models.prompts import checked_prompt, messages, prompt_text


@dataclass(frozen=True)
class CompletionFile:
    """A jsonl file with a `prompt` and a `completion` in each line, written by another program.

    Args:
        name: the name of the file, without its ending.
        file: the file.
    """

    name: str
    file: InputFile

    @property
    def identity(self) -> str:
        return self.file.sha256

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        return {
            index: f"{self.file} has {len(self._by_prompt.get(_content(prompt), []))} completions of the prompt "
            f"'{prompt_text(prompt)[:60]}', and completions={samples} are required"
            for index, prompt in enumerate(prompts)
            if self._of(prompt, samples) is None
        }

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        return self._of(prompt, len(texts)) == list(texts)

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        return [self._of(prompt, samples) for prompt in prompts]

    def _of(self, prompt: Any, samples: int) -> list[str] | None:
        """The first completions of a prompt; None if the file has fewer."""
        texts = self._by_prompt.get(_content(prompt), [])
        return texts[:samples] if len(texts) >= samples else None

    @cached_property
    def _by_prompt(self) -> dict[str, list[str]]:
        texts: dict[str, list[str]] = {}
        for prompt, text in self.entries():
            texts.setdefault(_content(prompt), []).append(text)
        return texts

    def entries(self) -> Iterator[tuple[Any, str]]:
        """Prompts and completions, in the order of the file."""
        for number, line in self.file.lines():
            try:
                entry = json.loads(line)
                prompt, text = entry["prompt"], entry["completion"]
            except (ValueError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                raise ConfigError(
                    f"{self.file}: line {number} is not an object with prompt and completion: correct or remove it."
                )
            where = f"{self.file}: line {number}"
            yield checked_prompt(prompt, where), whole_text(text, where)


def _content(prompt: Any) -> str:
    """A text that is the same for equal prompts."""
    return json.dumps(messages(prompt), sort_keys=True)

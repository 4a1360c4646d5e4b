"""Lists of prompts with the lines or rows that they are from, and copies among them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from nlhf.models.prompts import Prompt, messages


@dataclass(frozen=True)
class PromptList:
    """Prompts with their numbers.

    Args:
        source: what the numbers count, for messages: `game.path=FILE: line`.
        entries: the line or row of each prompt in its file or dataset, from 1, and the prompt.
    """

    source: str
    entries: tuple[tuple[int, Prompt], ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def numbers(self) -> list[int]:
        """The line or row of every prompt."""
        return [number for number, _ in self.entries]

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts."""
        return [prompt for _, prompt in self.entries]

    def split(self, last: int) -> tuple[PromptList, PromptList]:
        """All but the last prompts, and the last ones."""
        return replace(self, entries=self.entries[:-last]), replace(self, entries=self.entries[-last:])

    def without_copies(self, others: Iterable[Prompt] = ()) -> PromptList:
        """The first prompt of each content, without those that equal one of `others`."""
        seen = set(map(content, others))
        entries = []
        for number, prompt in self.entries:
            if (text := content(prompt)) not in seen:
                seen.add(text)
                entries.append((number, prompt))
        return replace(self, entries=tuple(entries))

    def copies_of(self, others: Iterable[Prompt]) -> list[int]:
        """The numbers of the prompts that equal one of `others`."""
        contents = set(map(content, others))
        return [number for number, prompt in self.entries if content(prompt) in contents]


def content(prompt: Prompt) -> str:
    """The messages of a prompt as text, equal for prompts that a model reads alike."""
    return json.dumps([(message["role"], message["content"].strip()) for message in messages(prompt)])

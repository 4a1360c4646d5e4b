"""The lines of jsonl files and folders in the project's own format of votes on texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.frames import Labels, cell_text
from nlhf.io.inputs import InputFile
from nlhf.io.tables import distinct_keys, listed
from nlhf.votes.where import Where, passing


def joined_lines(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The lines of comparisons.jsonl with the texts that they name."""
    prompts = _by_id(folder / "prompts.jsonl", "prompt_id", "prompt")
    completions = _by_id(folder / "completions.jsonl", "completion_id", "text")
    texts = {name: entry["text"] for name, entry in completions.items()}
    for line, entry in lines(str(folder / "comparisons.jsonl"), "prompt_id", "a", "b", "votes"):
        for name, table in ((entry["prompt_id"], prompts), (entry["a"], texts), (entry["b"], texts)):
            if not isinstance(name, str | int) or name not in table:
                raise ConfigError(f"{line} names {name}, which the folder does not have: add it, or remove the line.")
        yield line, {**prompts[entry["prompt_id"]], **entry, "a": texts[entry["a"]], "b": texts[entry["b"]]}


def _by_id(path: Path, key: str, *required: str) -> dict[str | int, dict[str, Any]]:
    """The objects of a jsonl file by the value of a key, all different."""
    entries: dict[str | int, dict[str, Any]] = {}
    for line, entry in lines(str(path), key, *required):
        if not isinstance(name := entry[key], str | int):
            raise ConfigError(f"{line} has {key}={json.dumps(name)[:80]}: give a text or a whole number.")
        if name in entries:
            raise ConfigError(f"{line} has {key}={name}, as a line before it: give every one its own.")
        entries[name] = entry
    return entries


def lines(path: str, *required: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a jsonl file that have the required keys, each with the name of its line."""
    for number, text in InputFile(path, "data").lines():
        line = f"data={path}: line {number}"
        try:
            entry = json.loads(text, object_pairs_hook=distinct_keys)
        except ValueError as error:
            raise ConfigError(f"{line} is not JSON ({error}): mend or remove it.") from error
        if not isinstance(entry, dict):
            raise ConfigError(
                f'{line} is not an object: write {{"prompt": ..., "a": ..., "b": ..., "votes": [1, 0, 0]}}.'
            )
        for name in required:
            if name not in entry:
                raise ConfigError(f"{line} lacks {name}: it has {', '.join(entry) or 'nothing'}.")
        yield line, entry


def passing_lines(
    every: Iterator[tuple[str, Mapping[str, Any]]], where: Where, path: str
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The lines that pass all filters. Raises: ConfigError for a column that no line has, and as `passing`."""
    if not where:
        return every
    entries = list(every)
    present = dict.fromkeys(name for _, entry in entries for name in entry)
    for name in where:
        if name not in present:
            raise ConfigError(f"where={name}: data={path} lacks the column {name}: it has {listed(list(present), 50)}.")
    columns = {name: Labels.of(cell_text(entry.get(name)).strip() for _, entry in entries) for name in where}
    return compress(entries, passing(columns, where, f"data={path}", "where"))

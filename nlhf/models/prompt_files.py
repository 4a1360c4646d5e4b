"""Prompts of files and datasets: a column `prompt`, the common start of `chosen` and `rejected`, or `messages`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.containers import container, first_keys, frame
from nlhf.io.frames import Frame, RecordFrame
from nlhf.io.inputs import InputFile
from nlhf.io.saved_datasets import is_saved, saved_frame
from nlhf.io.tables import columns_of, distinct_keys
from nlhf.models.content import InputDataset
from nlhf.models.prompts import Prompt, checked_prompt
from nlhf.votes.formats.conversations import text_or_messages
from nlhf.votes.formats.pairs import chosen_rejected

CHOSEN = ("chosen", "rejected")


def read(file: InputFile) -> list[Prompt]:
    """The prompts of `numbered`."""
    return [prompt for _, prompt in numbered(file)]


def numbered(file: InputFile) -> list[tuple[int, Prompt]]:
    """The prompts of a file with their line or row numbers.

    Each line of a jsonl file is an object with `prompt`: a text, or a list of messages with role and content. CSV, JSON
    and parquet files have a column `prompt`. Files without prompts have `chosen` and `rejected`, or `messages`.

    Raises: ConfigError for another file.
    """
    kind = container(file)
    columns = first_keys(file) if kind == "jsonl" else columns_of(file) if kind == "csv" else frame(file).columns
    if kind == "parquet" or (kind != "jsonl" and "prompt" in columns) or _implies(columns):
        return list(_of_frame(frame(file)))
    return list(_lines(file))


def of_dataset(name: InputDataset, split: str) -> list[Prompt]:
    """The prompts of a dataset of Hugging Face: a name on the hub, a folder of files, or one of `save_to_disk`.

    Raises: ConfigError for a dataset that does not exist or has no prompts.
    """
    return [prompt for _, prompt in _of_frame(dataset_frame(name, split))]


def dataset_frame(name: InputDataset, split: str) -> Frame:
    """The table of a dataset of Hugging Face.

    Raises: ConfigError for a dataset that does not exist.
    """
    with name.unchanged() as source:
        if is_saved(Path(source)):
            return saved_frame(Path(source), split, f"game.dataset={name}")
    rows = _loaded(name, split)
    columns = {column: list(rows[column]) for column in rows.column_names}
    return RecordFrame(f"game.dataset={name}", columns, range(1, len(rows) + 1))


def _loaded(name: InputDataset, split: str) -> Any:
    try:
        from datasets import load_dataset  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(f"game.dataset={name} needs the package datasets: pip install datasets") from error
    try:
        with name.unchanged() as source:
            return load_dataset(source, split=split)
    except ConfigError:
        raise
    except Exception as error:  # datasets raises many types
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"game.dataset={name}, game.split={split} cannot be loaded ({reason}): give a folder, or a name on the "
            "hub, and one of its splits."
        ) from error


def _lines(file: InputFile) -> Iterator[tuple[int, Prompt]]:
    for number, line in file.lines():
        try:
            prompt = json.loads(line, object_pairs_hook=distinct_keys)["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{file.name}: line {number} has no prompt, or two: give a JSON object with the key "
                "`prompt` in each line."
            ) from error
        yield number, checked_prompt(prompt, f"{file.name}: line {number}")


def _of_frame(table: Frame) -> Iterator[tuple[int, Prompt]]:
    """The prompts of a table with their lines."""
    if "prompt" in table.columns:
        prompts: Iterator[Any] = map(text_or_messages, table.values("prompt"))
    elif set(CHOSEN) <= set(table.columns):
        prompts = (vote if isinstance(vote, str) else {"prompt": vote.prompt} for _, vote in chosen_rejected(table))
    elif "messages" in table.columns:
        prompts = map(_before_the_answer, map(text_or_messages, table.values("messages")))
    else:
        columns = ", ".join(table.columns) or "none"
        raise ConfigError(
            f"{table.source} has the columns {columns} and no `prompt`: give one with prompt, chosen and rejected, or "
            "messages."
        )
    for row, prompt in enumerate(prompts):
        if isinstance(prompt, str) and "prompt" not in table.columns:
            raise ConfigError(f"{table.row(row)}: its texts {prompt}: add a column prompt, or leave the row out.")
        value = prompt["prompt"] if isinstance(prompt, dict) else prompt
        yield table.lines[row], checked_prompt(value, table.row(row))


def _before_the_answer(messages: Any) -> Any:
    """A conversation without the answers of the assistant at its end."""
    if not isinstance(messages, list):
        return "have no list of messages"
    return list(dropwhile(lambda message: message["role"] == "assistant", messages[::-1]))[::-1]


def _implies(columns: Collection[str]) -> bool:
    """True for columns that hold prompts without naming them."""
    return "prompt" not in columns and (set(CHOSEN) <= set(columns) or "messages" in columns)

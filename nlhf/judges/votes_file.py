"""Reads votes on texts.

Files in the formats of docs/formats.md that hold texts are read by `nlhf.votes`. In the project's own format, a jsonl
file has a pair in each line: `prompt` (a text, or messages with role and content), `a`, `b` (completions),
`votes` [for a, for b, ties], and `source` if there are several. A folder has `prompts.jsonl` (prompt_id, prompt),
`completions.jsonl` (completion_id, text) and `comparisons.jsonl` (prompt_id, a, b, votes), a and b completion_ids. A
folder that `save_to_disk` of Hugging Face's datasets has written holds a file of votes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError, whole_text
from nlhf.io.containers import container, first_keys
from nlhf.io.frames import Frame
from nlhf.io.inputs import InputFile
from nlhf.io.saved_datasets import is_saved, saved_frame
from nlhf.io.tables import stripped
from nlhf.judges.text_votes import TextVotes
from nlhf.judges.vote_lines import joined_lines, lines, passing_lines
from nlhf.models.prompts import checked_prompt, prompt_text
from nlhf.votes.file import MOST_VOTES
from nlhf.votes.formats.base import BothBad
from nlhf.votes.formats.table import TEXTS, format_of
from nlhf.votes.own_names import with_names
from nlhf.votes.read import warn_of_unused
from nlhf.votes.source import Source, source_of
from nlhf.votes.table import Report, Unused
from nlhf.votes.unread import check_unread
from nlhf.votes.where import Where

if TYPE_CHECKING:
    from nlhf.judges.base import Answer

log = logging.getLogger(__name__)
KEYS = ("prompt", "a", "b", "votes")  # of a line


def read_text_votes(
    path: str, names: Mapping[str, str] | None = None, both_bad: BothBad = "tie", where: Where | None = None
) -> TextVotes:
    """The votes of a file or of a folder.

    Args:
        path: the file or folder.
        names: the file's own names of columns, {prompt: question}.
        both_bad: `drop` leaves out votes that both are bad, which are ties otherwise.
        where: column -> value, or list of values, that a row must have.

    Raises: ConfigError with the line, the value and the remedy.
    """
    numbers: dict[Answer, int] = {}
    pairs, votes, sources, equal, empty = [], [], [], 0, 0
    for line, entry in _entries(path, names or {}, both_bad, where or {}):
        prompt = _prompt(entry["prompt"], line)
        first, second = (
            numbers.setdefault((prompt, _text(entry[side], f"{line}: {side}")), len(numbers)) for side in ("a", "b")
        )
        counts = _counts(entry["votes"], line)
        check_unread(entry, ("votes",), counts[2], sum(counts), line)
        if first == second or not sum(counts):
            equal, empty = equal + (first == second), empty + (first != second)
            continue
        pairs.append((first, second))
        votes.append(counts)
        sources.append(_source(entry.get("source"), line))
    if equal or empty:
        log.warning(
            "data=%s: %d pairs are left out: %d compare a text with itself, %d have no vote",
            *(path, equal + empty, equal, empty),
        )
    if not pairs:
        raise ConfigError(f"data={path} has no pair of different completions with a vote: give another file.")
    return TextVotes(list(numbers), np.array(pairs), np.array(votes, float), np.array(_named(sources, path)))


def _entries(
    path: str, names: Mapping[str, str], both_bad: BothBad, where: Where
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The votes as objects with the KEYS, each with the name of its line."""
    folder, file = Path(path).expanduser(), InputFile(path, "data")
    saved = is_saved(folder)
    if folder.is_dir() and not saved:
        yield from passing_lines(joined_lines(folder), where, path)
        return
    if not saved and not names and container(file) == "jsonl" and format_of(first_keys(file)) in (TEXTS, None):
        yield from passing_lines(lines(path, *KEYS), where, path)
        return
    source = _saved_source(file, folder, names) if saved else source_of(file, names)
    unused: dict[str, Unused] = {}
    for line, vote in source.texts(both_bad, unused, where):
        yield f"data={path}: row {line}", vote.entry
    assert source.format is not None
    assert source.frame is not None
    warn_of_unused(Report(file.name, source.format.title, len(source.frame), unused))


def _saved_source(file: InputFile, folder: Path, names: Mapping[str, str]) -> Source:
    """The votes of a saved dataset."""
    columns: Frame = saved_frame(folder, None, file.name)
    columns = with_names(columns, names, file) if names else columns
    return Source(file, format_of(columns.columns), columns)


def _named(sources: list[str], path: str) -> list[str]:
    """Names of sources, `all` if there is only one.

    Raises: ConfigError for a source `all` beside others, as `all` means all of them together.
    """
    if set(sources) <= {"", "all"}:
        return ["all"] * len(sources)
    if "all" in sources:
        raise ConfigError(f"data={path} has the source `all` beside others, and that means all of them: rename it.")
    if unnamed := sources.count(""):
        log.warning("data=%s: %d pairs name no source: they form the source (none)", path, unnamed)
    return [source or "(none)" for source in stripped(sources, f"data={path}")]


def _prompt(value: Any, line: str) -> str:
    """A prompt as one text, which keeps the messages of a chat.

    Raises: ConfigError.
    """
    where = f"{line}: prompt"
    return prompt_text(checked_prompt(value, where)) if isinstance(value, list) else _text(value, where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where} is {json.dumps(value)[:80]}, no text: give one.")
    return whole_text(value, where)


def _source(value: Any, line: str) -> str:
    """The name of a source, empty if there is none. NUL characters are refused, as NumPy drops them at the end."""
    source = "" if value is None else whole_text(str(value), f"{line}: source")
    if "\0" in source:
        raise ConfigError(f"{line} has source={json.dumps(source)[:80]}, with a NUL character: remove that.")
    return source


def _counts(value: Any, line: str) -> tuple[float, float, float]:
    """Counts of votes: for the first, for the second, ties."""
    try:
        first, second, ties = (float(count) for count in [*value, 0][:3])
        valid = len(value) in (2, 3) and all(0 <= count <= MOST_VOTES for count in (first, second, ties))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ConfigError(
            f"{line} has votes={json.dumps(value)[:80]}: give [for a, for b, ties], counts from 0 to 2^53."
        )
    return first, second, ties

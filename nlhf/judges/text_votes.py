"""Votes over texts, from which judges are learned and on which they are graded.

A jsonl file, one pair a line: `prompt` (a text, or messages with role and content), `a`, `b` (completions), `votes`
[for a, for b, ties], and `source` where there are several. Or a folder with `prompts.jsonl` (prompt_id, prompt),
`completions.jsonl` (completion_id, text) and `comparisons.jsonl` (prompt_id, a, b, votes), a and b completion_ids.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.config import ConfigError, whole_text
from nlhf.io.inputs import InputFile
from nlhf.io.tables import distinct_keys, stripped
from nlhf.judges.base import Answer, Pair
from nlhf.models.prompts import checked_prompt, words
from nlhf.votes.file import MOST_VOTES
from nlhf.votes.unread import check_unread

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextVotes:
    """Counted votes on n pairs of answers.

    Args:
        answers: the distinct ones, a prompt and a completion each.
        pairs: numbers of the answers that are compared, (n, 2).
        votes: for the first, for the second, ties, (n, 3).
        sources: where each pair is from, (n).
    """

    answers: list[Answer]
    pairs: np.ndarray
    votes: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def prompts(self) -> np.ndarray:
        """A number for the prompt of each pair, (n)."""
        numbers: dict[str, int] = {}
        of_answer = np.array([numbers.setdefault(prompt, len(numbers)) for prompt, _ in self.answers])
        return np.asarray(of_answer[self.pairs[:, 0]])

    @property
    def number(self) -> np.ndarray:
        """How many votes each pair has, (n)."""
        return np.asarray(self.votes.sum(1))

    @property
    def share(self) -> np.ndarray:
        """The share of the first among the votes, a tie half a vote, (n)."""
        return np.asarray((self.votes[:, 0] + self.votes[:, 2] / 2) / self.number)

    def texts(self) -> list[Pair]:
        """Prompt and both completions of every pair."""
        return [(*self.answers[first], self.answers[second][1]) for first, second in self.pairs]

    def at(self, chosen: np.ndarray) -> TextVotes:
        """Some of the pairs, by number or by mask."""
        return TextVotes(self.answers, self.pairs[chosen], self.votes[chosen], self.sources[chosen])


def read(path: str) -> TextVotes:
    """The votes of a jsonl file or of a folder of three.

    Raises: ConfigError with the line, the value and the remedy.
    """
    folder = Path(path).expanduser()
    rows = _joined(folder) if folder.is_dir() else ((place, _fields(entry, place)) for place, entry in _lines(path))
    numbers: dict[Answer, int] = {}
    pairs, votes, sources, equal, empty = [], [], [], 0, 0
    for place, entry in rows:
        prompt = _prompt(entry["prompt"], place)
        first, second = (
            numbers.setdefault((prompt, _text(entry[side], f"{place}: {side}")), len(numbers)) for side in ("a", "b")
        )
        counts = _counts(entry["votes"], place)
        check_unread(entry, ("votes",), counts[2], sum(counts), place)
        if first == second or not sum(counts):
            equal, empty = equal + (first == second), empty + (first != second)
            continue
        pairs.append((first, second))
        votes.append(counts)
        sources.append(_source(entry.get("source"), place))
    if equal or empty:
        log.warning("data=%s: %d pairs are left out: %d compare a text with itself, %d have no vote", path,
                    equal + empty, equal, empty)  # fmt: skip
    if not pairs:
        raise ConfigError(f"data={path} has no pair of different completions with a vote: give another file.")
    return TextVotes(list(numbers), np.array(pairs), np.array(votes, float), np.array(_named(sources, path)))


def _named(sources: list[str], path: str) -> list[str]:
    """Names of sources, `all` where there is one source only.

    Raises: ConfigError for `all` beside others, as it means all of them together.
    """
    if set(sources) <= {"", "all"}:
        return ["all"] * len(sources)
    if "all" in sources:
        raise ConfigError(f"data={path} has the source `all` beside others, and that means all of them: rename it.")
    if unnamed := sources.count(""):
        log.warning("data=%s: %d pairs name no source: they are those of the source (none)", path, unnamed)
    return [source or "(none)" for source in stripped(sources, f"data={path}")]


def _joined(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The lines of comparisons.jsonl with the texts that they name."""
    prompts = _by_id(folder / "prompts.jsonl", "prompt_id", "prompt")
    texts = {
        name: entry["text"] for name, entry in _by_id(folder / "completions.jsonl", "completion_id", "text").items()
    }
    for place, entry in _lines(str(folder / "comparisons.jsonl"), "prompt_id", "a", "b", "votes"):
        for name, known in ((entry["prompt_id"], prompts), (entry["a"], texts), (entry["b"], texts)):
            if not isinstance(name, str | int) or name not in known:
                raise ConfigError(f"{place} names {name}, which the folder does not have: add it, or remove the line.")
        yield place, {**prompts[entry["prompt_id"]], **entry, "a": texts[entry["a"]], "b": texts[entry["b"]]}


def _by_id(path: Path, key: str, *wanted: str) -> dict[str | int, dict[str, Any]]:
    """The objects of a jsonl file by the value of a key, all different."""
    entries: dict[str | int, dict[str, Any]] = {}
    for place, entry in _lines(str(path), key, *wanted):
        if not isinstance(name := entry[key], str | int):
            raise ConfigError(f"{place} has {key}={json.dumps(name)[:80]}: give a text or a whole number.")
        if name in entries:
            raise ConfigError(f"{place} has {key}={name}, as a line before it: give every one its own.")
        entries[name] = entry
    return entries


def _lines(path: str, *wanted: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a jsonl file, each behind its place."""
    for number, line in InputFile(path, "data").lines():
        place = f"data={path}: line {number}"
        try:
            entry = json.loads(line, object_pairs_hook=distinct_keys)
        except ValueError as error:
            raise ConfigError(f"{place} is no JSON ({error}): mend or remove it.") from error
        if not isinstance(entry, dict):
            raise ConfigError(f"{place} is no object: write {{\"prompt\": ..., \"a\": ..., \"b\": ..., \"votes\": "
                              "[1, 0, 0]}.")  # fmt: skip
        yield place, _fields(entry, place, *wanted) if wanted else entry


def _fields(entry: dict[str, Any], place: str, *wanted: str) -> dict[str, Any]:
    for name in wanted or ("prompt", "a", "b", "votes"):
        if name not in entry:
            raise ConfigError(f"{place} lacks {name}: it has {', '.join(entry) or 'nothing'}.")
    return entry


def _prompt(value: Any, place: str) -> str:
    """A prompt as one text, which keeps the messages of a chat.

    Raises: ConfigError.
    """
    place = f"{place}: prompt"
    return words(checked_prompt(value, place)) if isinstance(value, list) else _text(value, place)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{place} is {json.dumps(value)[:80]}, no text: give one.")
    return whole_text(value, place)


def _source(value: Any, place: str) -> str:
    """The name of a source, empty where there is none. NumPy drops NUL characters at the end of a text."""
    source = "" if value is None else whole_text(str(value), f"{place}: source")
    if "\0" in source:
        raise ConfigError(f"{place} has source={json.dumps(source)[:80]}, with a NUL character: remove that.")
    return source


def _counts(value: Any, place: str) -> tuple[float, float, float]:
    try:
        first, second, ties = (float(count) for count in [*value, 0][:3])
        known = len(value) in (2, 3) and all(0 <= count <= MOST_VOTES for count in (first, second, ties))
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ConfigError(
            f"{place} has votes={json.dumps(value)[:80]}: give [for a, for b, ties], counts from 0 to 2^53."
        )
    return first, second, ties

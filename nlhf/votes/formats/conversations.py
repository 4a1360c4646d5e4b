"""Votes on two conversations: their common start is the prompt, and what follows are the completions."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

from nlhf.io.frames import Frame
from nlhf.votes.formats.base import Outcomes, TextVote, TextVotes

Message = dict[str, str]
Talk = list[Message]
Talks = tuple[Talk | str, Talk | str]  # two conversations; a text is the reason why one is missing
NO_MESSAGES = "have no list of messages"
NO_PROMPT = "share no prompt"
NO_REPLY = "lack a reply"
PICTURES = "show pictures"


def structured(value: Any) -> Any:
    """A cell, parsed if it is a list in a text: as JSON, or as Python prints it, which pandas writes to CSV files."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(value)
    return value


def text_or_messages(value: Any) -> Any:
    """A cell, parsed if it holds messages; other texts stay, also those that are JSON."""
    parsed = structured(value)
    return parsed if parsed and _are_messages(parsed) else value


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, Mapping) and "role" in entry for entry in value)


def messages(value: Any) -> Talk | str:
    """The messages of a conversation, or the reason why it has none."""
    value = structured(value)
    if not _are_messages(value):
        return NO_MESSAGES
    talk = []
    for entry in value:
        content = entry.get("content")
        parts = [content] if isinstance(content, str) else list(content or [])
        texts = [part if isinstance(part, str) else part.get("text") for part in parts]
        if any(not isinstance(text, str) for text in texts):
            return PICTURES
        talk.append({"role": str(entry["role"]), "content": "\n".join(texts)})
    return talk


def compared(first: Talk, second: Talk, votes: list[float], source: str | None = None) -> TextVote | str:
    """The vote on two conversations, or the reason why they cannot be compared."""
    size = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    prompt, replies = first[:size], (first[size:], second[size:])
    if not prompt:
        return NO_PROMPT
    if not all(replies):
        return NO_REPLY
    plain = prompt[0]["content"] if len(prompt) == 1 and prompt[0]["role"] == "user" else prompt
    return TextVote(plain, text_of(replies[0]), text_of(replies[1]), votes, source)


def text_of(talk: Sequence[Message]) -> str:
    """Messages as one text; several follow their roles."""
    if len(talk) == 1:
        return talk[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in talk)


def until_turn(talk: Talk | str, turn: int) -> Talk | str:
    """A conversation up to the reply to the user's message with this number."""
    if isinstance(talk, str):
        return talk
    ends = [number for number, message in enumerate(talk, start=1) if message["role"] == "assistant"]
    return talk[: ends[turn - 1]] if turn <= len(ends) else talk


def of_rows(
    outcomes: Callable[[Frame], Outcomes], row_talks: Callable[[Frame], Iterable[Talks]]
) -> Callable[[Frame], TextVotes]:
    """A reader of two conversations in each row, with the outcome of the vote."""

    def read(frame: Frame) -> TextVotes:
        cast = outcomes(frame)
        sources = frame.labels("source").cells if "source" in frame.columns else None
        for row, (first, second) in enumerate(row_talks(frame)):
            if reason := cast.reason(row):
                yield row, reason
            elif isinstance(first, str) or isinstance(second, str):
                yield row, first if isinstance(first, str) else str(second)
            else:
                vote = compared(first, second, cast.counts(row), sources[row] if sources else None)
                bad = cast.both_bad is not None and bool(cast.both_bad[row])
                yield row, replace(vote, both_bad=bad) if isinstance(vote, TextVote) else vote

    return read


def arena(frame: Frame) -> Iterable[Talks]:
    """The columns conversation_a and conversation_b."""
    columns = (frame.values(name) for name in ("conversation_a", "conversation_b"))
    return ((messages(a), messages(b)) for a, b in zip(*columns, strict=True))


def mtbench(frame: Frame) -> Iterable[Talks]:
    """Conversations up to the turn that is judged."""
    for (first, second), turn in zip(arena(frame), frame.labels("turn").cells, strict=True):
        number = int(turn) if turn.isdecimal() and int(turn) > 0 else 1
        yield until_turn(first, number), until_turn(second, number)


def turns(frame: Frame) -> Iterable[Talks]:
    """The columns prompt, response_a and response_b, each a list of one text for every turn."""
    for prompts, first, second in zip(*map(frame.values, ("prompt", "response_a", "response_b")), strict=True):
        yield _joined(_texts(prompts), _texts(first)), _joined(_texts(prompts), _texts(second))


def _joined(questions: Sequence[str | None], answers: Sequence[str | None]) -> Talk | str:
    """The messages of the user and of the assistant in turn."""
    if len(answers) != len(questions):
        return NO_REPLY
    talk = []
    for question, answer in zip(questions, answers, strict=True):
        if question is None or answer is None:
            return NO_REPLY
        talk += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return talk


def _texts(value: Any) -> list[str | None]:
    """The texts of a list, or the text of a single turn; None for a missing one."""
    value = structured(value)
    entries = value if isinstance(value, list) else [value]
    return [entry if isinstance(entry, str) else None for entry in entries]

"""Verdicts in the answers of an endpoint: A, B or a tie, in the many forms that models write."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

TIE = 0.5
VERDICTS = {"a": 1.0, "b": 0.0, "tie": TIE}
LETTER = r"(A|B|[Tt]ie|TIE)\b"
ANSWER = re.compile(rf"\b{LETTER}")
FIRST = re.compile(rf"\W*(?:[Aa]nswer:?\s*)?{LETTER}\W*?(?:[.\n]|$|[,:;)]([^.\n]*))")  # a verdict before its reasons
BETTER = re.compile(r"\W*(?:[Aa]nswer\s+)?(A|B)\s+is\s+(?:clearly\s+|slightly\s+|much\s+|the\s+)?(?:better|best)\b")
DENIED = re.compile(r"\b(not|neither|nor|no|worse|cannot|unable|unclear)\b|n't", re.IGNORECASE)
ARTICLE = re.compile(r"\bA(?=\s+(?!(?:is|wins|or|and|nor|but|vs|over|than|because|since|as)\b)[a-z])")
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)  # also a thought that was cut off


def completion_of(response: str) -> Any:
    """The chat completion in the text of a response.

    The answer was paid for, so other malformed parts (a number of 5,000 digits, say) do not matter.

    Raises: ValueError.
    """
    with suppress(ValueError, TypeError, RecursionError):
        completion = json.loads(response, object_hook=lambda entry: SimpleNamespace(**entry), parse_int=float)
        if getattr(completion, "choices", None):
            return completion
    raise ValueError("the response is not a chat completion")


def verdict_of(completion: Any) -> float | None:
    """1 if the completion prefers the first answer, 0 for the second, 1/2 for a tie, None if it is unreadable."""
    try:
        text = completion.choices[0].message.content
    except (AttributeError, IndexError, KeyError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    text = THOUGHT.sub("", text).strip()
    if (word := text.lower().strip(".!* ").removeprefix("a ")) in VERDICTS:
        return VERDICTS[word]
    if first := FIRST.match(text):
        reasons = ARTICLE.sub("", first[2] or "")
        if not ANSWER.search(reasons) and not DENIED.search(reasons):
            return VERDICTS[first[1].lower()]
    if better := BETTER.match(text):
        return VERDICTS[better[1].lower()]
    letters = {letter.lower() for letter in ANSWER.findall(ARTICLE.sub("", text))}
    return VERDICTS[letters.pop()] if len(letters) == 1 and not DENIED.search(text) else None

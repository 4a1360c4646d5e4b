"""Removal of a secret from texts that are shown or stored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from itertools import groupby
from urllib.parse import quote, quote_plus

import numpy as np

PART = 8  # a row of so many characters of a secret is masked


def masked(text: str, secret: str) -> str:
    """The text with *** for the secret in every common spelling, and for parts of 8 characters or more."""
    hidden = np.zeros(len(text), bool)
    for spelling in _spellings(secret.strip()) | _spellings(secret):
        width = min(PART, len(spelling))
        for part in {spelling[start : start + width] for start in range(len(spelling) - width + 1)}:
            for match in re.finditer(f"(?={re.escape(part)})", text, re.IGNORECASE):
                hidden[match.start() : match.start() + width] = True
    runs = groupby(zip(text, hidden.tolist(), strict=True), key=lambda entry: entry[1])
    return "".join("***" if is_secret else "".join(letter for letter, _ in run) for is_secret, run in runs)


def _spellings(secret: str) -> set[str]:
    """The secret as repr, JSON, URLs and HTML spell it, and every spelling of each spelling."""
    ways: list[Callable[[str], str]] = [
        lambda text: repr(text)[1:-1],
        lambda text: ascii(text)[1:-1],
        lambda text: repr(text.encode(errors="surrogateescape"))[2:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: quote(text, safe="", errors="replace"),
        lambda text: quote_plus(text, errors="replace"),
        escape,
        lambda text: text.replace('"', "&#34;").replace("'", "&#39;"),
    ]
    once = {secret, *(way(secret) for way in ways)}
    return (once | {way(text) for way in ways for text in once}) - {""}

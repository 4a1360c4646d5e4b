"""The style of the texts that votes compare: length and markdown, as differences between the two sides.

A difference is (x_a - x_b) / (x_a + x_b), from -1 to 1, and 0 if neither side has any: 1/3 if x_a is twice x_b (the
style control of Chatbot Arena, T. Li, A. Angelopoulos, W.-L. Chiang, Does style matter?, 2024).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.votes.formats.base import TextVote
from nlhf.votes.source import Source

HEADERS = re.compile(r"^ {0,3}#{1,6}\s", re.MULTILINE)
LISTS = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s", re.MULTILINE)
BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
CODE = re.compile(r"^```.*?(?:^```|\Z)", re.MULTILINE | re.DOTALL)
MEASURES: dict[str, Callable[[str], int]] = {
    "length": len,
    "headers": lambda text: len(HEADERS.findall(CODE.sub("", text))),
    "lists": lambda text: len(LISTS.findall(CODE.sub("", text))),
    "bold": lambda text: len(BOLD.findall(CODE.sub("", text))),
}


def measures_of(text: str) -> list[str]:
    """The measures that `--control` names: a list with commas, or `style` for all.

    Raises: ConfigError for another name.
    """
    names = list(MEASURES) if text == "style" else list(dict.fromkeys(filter(None, text.split(","))))
    if unknown := [name for name in names if name not in MEASURES]:
        listing = ", ".join(MEASURES)
        raise ConfigError(f"--control {unknown[0]} is not a measure of texts: give style or any of {listing}.")
    return names


def style_differences(source: Source, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The differences of some rows of a file, (R, k); nan for rows without two texts.

    Args:
        source: the file.
        rows: the numbers of the rows, (R).
        names: k keys of MEASURES.

    Raises: ConfigError for a file without texts.
    """
    if not source.has_texts or source.frame is None or source.format is None or source.format.texts is None:
        raise ConfigError(f"--control needs a file with texts: {source.refusal('votes on texts')}")
    differences = np.full((len(source.frame), len(names)), np.nan)
    measures = [MEASURES[name] for name in names]
    for row, vote in source.format.texts(source.frame):
        if isinstance(vote, TextVote) and isinstance(vote.a, str) and isinstance(vote.b, str):
            sides = [(measure(vote.a), measure(vote.b)) for measure in measures]
            differences[row] = [(a - b) / (a + b) if a + b else 0.0 for a, b in sides]
    return np.asarray(differences[rows])

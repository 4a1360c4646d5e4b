"""The code blocks of README.md and docs/, for the tests that run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "generate")]
TEXT_PAGES = ["docs/guides/language-models.md", "docs/guides/judges.md"]
TABLE_PAGES = [
    "README.md",
    "docs/formats.md",
    "docs/reproductions.md",
    "docs/tutorial.md",
    "docs/guides/votes.md",
    "docs/guides/cases.md",
    "docs/guides/asking.md",
    "docs/guides/sampled.md",
    "docs/guides/large.md",
    "docs/guides/conversations.md",
    "docs/guides/regularisers.md",
    "docs/guides/stackelberg.md",
    "docs/guides/sweeps.md",
    "docs/guides/comparing.md",
]
VOTES = """item_a,item_b,wins_a,wins_b,question_id,judge,topic,annotator
x,y,3,1,1,human,code,ann
y,z,2,1,1,human,code,ben
z,x,2,1,1,human,code,ann
x,y,1,4,2,human,prose,ben
y,z,3,1,2,human,prose,ann
z,x,1,2,2,human,prose,ben
z,gpt4,1,2,2,human,prose,ann
"""


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language; `sh` blocks hold only commands that run."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def block(page: str, language: str, first_line: str) -> str:
    """The one code block that begins with a line."""
    (found,) = [text for text in blocks(page, language) if text.startswith(first_line + "\n")]
    return found


def commands(page: str) -> list[list[str]]:
    """The words behind `nlhf` of every command in the `sh` blocks of a page."""
    parts = [
        shlex.split(part, comments=True)
        for text in blocks(page, "sh")
        for line in text.splitlines()
        for part in line.split("&&")
    ]
    assert all(words[0] == "nlhf" for words in parts if words), f"{page}: an sh block holds more than nlhf commands"
    return [words[1:] for words in parts if words]

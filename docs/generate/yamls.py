"""What a yaml of conf/ says: its first comment, its class, and its keys with defaults and comments."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parents[2] / "conf"
LINE = re.compile(r"^(?P<key>\w+): *(?P<value>\"(?:[^\"\\]|\\.)*\"|[^#]*?)(?: +# (?P<comment>.*))?$")
SKIPPED = ("_target_", "defaults", "hydra", "kind")


@dataclass(frozen=True)
class Key:
    """One key: its name, its default as the yaml writes it, and its comment."""

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Choice:
    """One yaml, as conf/game/votes.yaml."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def summary(self) -> str:
        """The comments at the top, in one sentence each."""
        lines = re.match(r"(# .*\n)*", self.text)
        return "; ".join(line[2:] for line in (lines[0] if lines else "").splitlines() if "@package" not in line)

    @property
    def parent(self) -> str | None:
        """The choice of the same group from which this one differs."""
        match = re.search(r"^defaults: \[(\w+)\]", self.text, re.MULTILINE)
        return match[1] if match else None

    @property
    def target(self) -> Any:
        """The class that the yaml names, or its parent's; None if it names none."""
        if match := re.search(r"^_target_: (\S+)", self.text, re.MULTILINE):
            module, _, name = match[1].rpartition(".")
            return getattr(importlib.import_module(module), name)
        return Choice(self.path.with_stem(self.parent)).target if self.parent else None

    @property
    def keys(self) -> list[Key]:
        """The keys of the top level; comments that the yaml lacks come from the docstring of the class."""
        described = _arguments(self.target.__doc__ or "") if self.target else {}
        matches = [match for line in self.text.splitlines() if (match := LINE.match(line))]
        return [
            Key(match["key"], match["value"].strip(), match["comment"] or described.get(match["key"], ""))
            for match in matches
            if match["key"] not in SKIPPED
        ]

    @property
    def types(self) -> dict[str, str]:
        """The types of the fields of the class."""
        cls = self.target
        return {field.name: str(field.type) for field in fields(cls)} if hasattr(cls, "__dataclass_fields__") else {}


def choices(group: str) -> list[Choice]:
    """All yamls of a group, by name."""
    return [Choice(path) for path in sorted((CONF / group).glob("*.yaml"))]


def cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """A value as code in a cell; nothing for an empty one."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def _arguments(docstring: str) -> dict[str, str]:
    """The descriptions below `Args:`."""
    described: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Args:")[2].splitlines():
        if match := re.match(r"^ {8}(\w+(?:, \w+)*): (.*)$", line):
            names = match[1].split(", ")
            described |= dict.fromkeys(names, match[2])
        elif line.startswith(" " * 12) and names:
            described |= {name: f"{described[name]} {line.strip()}" for name in names}
        elif line.strip():
            names = []
    return described

"""The groups of conf/, their choices and the keys of each choice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next((path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir()), PACKAGE / "conf")
"""conf/ of an installed package, or else of the checkout."""


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """The choices of every group of conf/, such as `game` and `hydra/launcher`."""
    names: dict[str, list[str]] = {}
    for file in sorted(CONF.rglob("*.yaml")):
        if file.parent != CONF:
            names.setdefault(file.parent.relative_to(CONF).as_posix(), []).append(file.stem)
    return {group: tuple(choices) for group, choices in names.items()}


@cache
def keys_of(group: str, choice: str) -> frozenset[str]:
    """The keys of a choice and of its defaults; empty if conf/ has no such choice."""
    file = CONF / group / f"{choice}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    if not isinstance(content, Mapping):
        return frozenset()
    keys = frozenset(map(str, content)) - {"defaults", "_target_"}
    for default in content.get("defaults", ()):
        if isinstance(default, str):
            keys |= keys_of(group, default)
        elif isinstance(default, Mapping):  # `/judge@judge: panel` makes a key `judge`
            keys |= {str(key).partition("@")[2] for key in default} - {""}
    return keys

"""The groups of conf/, their choices and the keys of each choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from nlhf.runner.chosen import CONF


@dataclass(frozen=True)
class Choices:
    """The groups of conf/ and of further folders, such as `--config-dir`."""

    folders: tuple[Path, ...] = (CONF,)

    @classmethod
    def of_command(cls, arguments: Sequence[str]) -> Choices:
        """The choices of a command, including its `--config-dir`."""
        after = [value for word, value in pairwise(arguments) if word in ("-cd", "--config-dir")]
        within = [word.partition("=")[2] for word in arguments if word.startswith("--config-dir=")]
        return cls((CONF, *map(Path, after + within)))

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The choices of every group, such as `game` and `hydra/launcher`."""
        names: dict[str, set[str]] = {}
        for folder in self.folders:
            for file in folder.rglob("*.yaml"):
                if file.parent != folder:
                    names.setdefault(file.parent.relative_to(folder).as_posix(), set()).add(file.stem)
        return {group: tuple(sorted(names[group])) for group in sorted(names)}

    def keys_of(self, group: str, choice: str) -> frozenset[str]:
        """The keys of a choice and of its defaults; empty if no folder has such a choice."""
        content = self._content(group, choice)
        if not isinstance(content, Mapping):
            return frozenset()
        keys = frozenset(map(str, content)) - {"defaults", "_target_"}
        for default in content.get("defaults") or ():
            if isinstance(default, str) and default != choice:
                keys |= self.keys_of(group, default)
            elif isinstance(default, Mapping):  # `/judge@judge: panel` makes a key `judge`
                keys |= {str(key).partition("@")[2] for key in default} - {""}
        return keys

    def _content(self, group: str, choice: str) -> Any:
        files = (folder / group / f"{choice}.yaml" for folder in self.folders)
        with suppress(OSError, UnicodeError, yaml.YAMLError):
            return next((yaml.safe_load(file.read_text(encoding="utf-8")) for file in files if file.is_file()), None)
        return None


BUNDLED = Choices()

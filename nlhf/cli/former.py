"""The commands that `nlhf` replaced."""

from __future__ import annotations

import sys

from nlhf.messages import command
from nlhf.terminal import warn


def moved(package: str, *words: str) -> int:
    """Print what replaced `python -m nlhf.PACKAGE` with the program's arguments; exit code 2."""
    warn(f"error: python -m nlhf.{package} is now {command(*words)}: write {command(*words, *sys.argv[1:])}")
    return 2

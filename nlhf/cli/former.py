"""The commands that `nlhf` replaced."""

from __future__ import annotations

import sys

from nlhf.messages import command
from nlhf.terminal import warn


def moved(package: str, *replacement: str) -> int:
    """Print what replaced `python -m nlhf.PACKAGE` with the program's arguments; exit code 2."""
    warn(
        f"error: python -m nlhf.{package} is now {command(*replacement)}: write {command(*replacement, *sys.argv[1:])}"
    )
    return 2

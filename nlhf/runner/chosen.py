"""The name of a part in configs: the choice of conf/ that makes it. No torch import."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next((path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir()), PACKAGE / "conf")
"""conf/ of an installed package, or else of the checkout."""


def chosen(group: str, part: type) -> str:
    """The first choice of a group of conf/ that makes this class; the class's name if none does."""
    target = re.compile(rf"^_target_: {re.escape(part.__module__)}\.{part.__name__}\s*$", re.MULTILINE)
    files = sorted((CONF / group).glob("*.yaml"))
    return next((file.stem for file in files if target.search(file.read_text("utf-8"))), part.__name__)

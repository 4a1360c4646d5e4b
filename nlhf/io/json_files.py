"""JSON files with a checksum, and files with a JSON object in each line."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nlhf.io.files import replacing

CHECKSUM = "checksum"  # the last entry of a JSON file: SHA-256 of the text of all other entries


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that ends with a checksum of its entries; non-finite numbers become null."""
    finite = _finite(content)
    with replacing(path) as stream:
        json.dump({**finite, CHECKSUM: _checksum(finite)}, stream, indent=2)
        stream.write("\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The entries of a JSON file without their checksum; None if the file is missing, unreadable or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    expected = content.pop(CHECKSUM, None)  # files of other programs have none
    return content if expected in (None, _checksum(content)) else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with a JSON object in each line; only a line feed ends a line.

    Lines that a crash has cut are skipped. A missing file has no objects.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def _finite(content: Any) -> Any:
    """The content with null for numbers that are not finite."""
    if isinstance(content, Mapping):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content

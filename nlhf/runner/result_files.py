"""The result files of a run, with the checksums that detect damage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nlhf.io.checksums import file_record
from nlhf.records import BY_PROMPT, GAME, Table

# Patterns of a run's result files. checkpoint.pt has its own checksum; run.log and exploiter.json may change later.
RESULTS = (
    ".hydra/*.yaml",
    GAME,
    "metrics.csv",
    "policies.csv",
    "policies/**/*",
    "policy.*",
    "policy/**/*",
    "completions.jsonl",
    BY_PROMPT,
)


def records(folder: Path, tables: Iterable[Table]) -> dict[str, Any]:
    """The records of all result files, by name."""
    of_tables = {table.path.name: table.record for table in tables}
    paths = sorted(path for pattern in RESULTS for path in folder.glob(pattern) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return {name: file_record(path) | of_tables.get(name, {}) for name, path in zip(names, paths, strict=True)}

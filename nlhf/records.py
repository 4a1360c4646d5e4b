"""What a run leaves in its folder: tidy rows, summary, checkpoint; every file is replaced whole, never torn."""

from __future__ import annotations

import csv
import json
import math
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from nlhf.budget import is_scheduled

COLUMNS = (
    "run", "game", "algorithm", "seed", "iteration", "queries", "seconds", "exploitability",
    "exploitability_unregularised", "average_exploitability", "kl_to_equilibrium", "span_to_equilibrium",
    "kl_to_reference", "entropy", "win_rate_vs_reference", "step_size", "kl_bound",
)  # fmt: skip
TEST_COLUMNS = tuple(f"test_{name}" for name in (  # where the game has contexts that nobody is trained on
    "exploitability", "exploitability_unregularised", "kl_to_equilibrium", "span_to_equilibrium", "kl_to_reference",
    "entropy", "win_rate_vs_reference",
))  # fmt: skip
TEXT_COLUMNS = (  # where completions of test prompts are judged
    "test_kl_to_reference", "kl_standard_error", "test_entropy", "test_win_rate_vs_reference",
    "test_loss_rate_vs_reference", "win_rate_low", "win_rate_high", "preference_vs_reference", "tokens", "finished",
    "distinct_2", "judge_calls",
)  # fmt: skip
POLICY_COLUMNS = ("seed", "iteration", "context", "action", "log_probability")
THRESHOLDS = (1e-2, 1e-4, 1e-6, 1e-8)
# Keys that a config of this RESULTS_VERSION may lack, with what they stood for; no part of the fingerprint then
ADDED = {"dtype": "float64"}

Row = dict[str, str]


class DivergedError(RuntimeError):
    """A scheduled row was not finite."""


class WriteError(OSError):
    """A file or folder cannot be written: a sentence with the remedy."""


class Recorder(Protocol):
    """Where a trainer's rows and checkpoints go."""

    def row(self, seed: int, values: dict[str, Any], policy: Any) -> None:
        """One row of the seed at this position in the batch, and the policies of the batch."""

    def checkpoint(self, content: dict[str, Any]) -> None:
        """Keep the rows so far and this content, so that the run can go on from here."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path`, or into it, into a WriteError."""
    try:
        yield
    except WriteError:
        raise
    except OSError as problem:
        raise WriteError(
            f"{path} cannot be written ({problem.strerror or problem}): make room or choose another place, and repeat "
            f"the command; what was written before is kept."
        ) from problem


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file that takes the place of `path` when it is whole and on the disk, and leaves it alone if writing fails."""
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"  # among hosts, too
    temporary = path.with_name(f".{path.name}.{unique}.tmp")
    try:
        text = "b" not in mode
        with writing(path):
            with temporary.open(mode, newline="" if text else None, encoding="utf-8" if text else None) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; non-finite numbers become null."""
    with replacing(path) as stream:
        json.dump(_finite(content), stream, indent=2)
        stream.write("\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file's content, or None where there is none or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file by name, or that of an npy file under the name ""; None where it cannot be read."""
    try:
        with path.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            return {"": content} if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        return None


class Table:
    """Rows of one CSV file, in memory and, after `flush`, on the disk."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self.rows: list[Row] = []
        self._written = -1  # rows in the file; none of them has changed since

    def add(self, **values: Any) -> None:
        """Append a row: numbers by `repr`, so that reading gives the same bits; what is missing or nan is empty."""
        self.rows.append({column: cell(values.get(column)) for column in self.columns})

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Drop the rows that are not wanted."""
        self._written = -1
        self.rows = [row for row in self.rows if wanted(row)]

    def load(self) -> None:
        """Take the rows that the file holds; a torn last line is not one."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            self.rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))

    def flush(self) -> None:
        """Replace the file by the rows, if there are new ones."""
        if self._written == len(self.rows):
            return
        with replacing(self.path) as stream:
            writer = csv.DictWriter(stream, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        self._written = len(self.rows)


def cell(value: Any) -> str:
    """A value as a CSV cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def permanent(row: Row, iterations: Mapping[int, int]) -> bool:
    """Does this row stay when the run goes on from a checkpoint with so many iterations per seed?"""
    iteration = int(row["iteration"])
    return is_scheduled(iteration) and iteration <= iterations.get(int(row["seed"]), -1)


def first_hits(rows: Sequence[Row], seeds: Sequence[int]) -> dict[str, dict[str, int | None]]:
    """Queries at the first row at which each seed's exploitability is at or below each threshold; None if never."""
    hits: dict[str, dict[str, int | None]] = {}
    for threshold in THRESHOLDS:
        found: dict[str, int | None] = {str(seed): None for seed in seeds}
        for row in rows:
            below = row["exploitability"] and float(row["exploitability"]) <= threshold
            if below and found[row["seed"]] is None:
                found[row["seed"]] = int(row["queries"])
        hits[f"{threshold:.0e}"] = found
    return hits


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content

"""Rows of a run: the columns of its tables, and CSV files of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nlhf.budget import is_scheduled
from nlhf.files import replacing

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


class Recorder(Protocol):
    """Where a trainer's rows and checkpoints go."""

    def row(self, seed: int, values: dict[str, Any], policy: Any) -> None:
        """One row of the seed at this position in the batch, and the policies of the batch."""

    def checkpoint(self, content: dict[str, Any]) -> None:
        """Keep the rows so far and this content, so that the run can go on from here."""


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

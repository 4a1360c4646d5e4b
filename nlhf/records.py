"""Rows of a run: the columns of its tables, and CSV files of them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.budget import Schedule
from nlhf.io.files import replacing

COLUMNS = (
    "run", "game", "algorithm", "seed", "iteration", "queries", "seconds", "exploitability",
    "exploitability_unregularised", "average_exploitability", "kl_to_equilibrium", "span_to_equilibrium",
    "kl_to_reference", "entropy", "win_rate_vs_reference", "step_size", "kl_bound",
)  # fmt: skip
TEST_COLUMNS = tuple(f"test_{name}" for name in (  # if the game has contexts for testing only
    "exploitability", "exploitability_unregularised", "kl_to_equilibrium", "span_to_equilibrium", "kl_to_reference",
    "entropy", "win_rate_vs_reference",
))  # fmt: skip
TEXT_COLUMNS = (  # if completions of test prompts are judged
    "test_kl_to_reference", "kl_standard_error", "kl_low", "kl_high", "test_entropy", "test_win_rate_vs_reference",
    "test_loss_rate_vs_reference", "win_rate_low", "win_rate_high", "preference_vs_reference", "tokens", "finished",
    "distinct_2", "judge_calls", "sampled_tokens",
)  # fmt: skip
LEADER_COLUMNS = (  # and if a follower sees the completions
    "leader_value", "refinement_win_rate", "refinement_low", "refinement_high", "follower_kl_to_reference",
)  # fmt: skip
POLICY_COLUMNS = ("seed", "iteration", "context", "action", "log_probability")
BY_PROMPT = "by_prompt.csv"
PROMPT_COLUMNS = ("seed", "iteration", "win_rates", "divergences")  # numbers of all test prompts in one cell
THRESHOLDS = (1e-2, 1e-4, 1e-6, 1e-8)
# Keys that a config of this RESULTS_VERSION may lack, with their implicit values; these are not fingerprinted
ADDED = {"dtype": "float64", "force": False, "arena": False}

GAME = "game.npz"
QUOTED = re.compile('[",\r\n]')

Row = dict[str, str]


class Table:
    """Rows of one CSV file, in memory and, after `flush`, on the disk.

    A run that starts again, or goes on from an old checkpoint, computes some of the rows in its file once more. A row
    stays in the file until it is replaced.
    """

    def __init__(self, path: Path, columns: Sequence[str], sync: bool = True) -> None:
        self.path, self.columns, self._sync = path, tuple(columns), sync
        self.rows: list[Row] = []
        self._earlier: list[Row] = []  # rows of the file that this run has not computed yet
        self._written = -1  # rows in the file; none of them has changed since

    def add(self, **values: Any) -> None:
        """Append a row: numbers by `repr`, so that reading gives the same bits; missing values and nan are empty."""
        self.rows.append({column: cell(values.get(column)) for column in self.columns})

    def load(self) -> None:
        """Take the rows of the file; a torn last row is dropped."""
        if self.path.exists():
            self.rows = read_rows(self.path)

    def go_on_from(self, text: str, selected: Callable[[Row], bool]) -> None:
        """Take the selected rows of a checkpoint's `text`."""
        self.rows = [row for row in parse_rows(text) if selected(row)]
        self._written = -1

    def keep_earlier(self) -> None:
        """Let the file keep its present rows until this run has replaced them; an unreadable file has none."""
        try:
            rows = read_rows(self.path)
        except (OSError, ValueError):
            return
        self._earlier = [row for row in rows if tuple(row) == self.columns and row["iteration"].isdecimal()]

    def drop_earlier(self, complete: bool) -> None:
        """Drop earlier rows that this run has passed without computing them; all if the run is complete."""
        if self._earlier:
            reached = {row["seed"]: _iteration(row) for row in sorted(self.rows, key=_iteration)}
            later = [row for row in self._earlier if _iteration(row) > reached.get(row["seed"], -1)]
            self._earlier, self._written = [] if complete else later, -1

    @property
    def text(self) -> str:
        """The rows of this run as CSV."""
        return _text(self.columns, self.rows)

    def flush(self) -> None:
        """Replace the file by the rows, if there are new ones."""
        if self._written == len(self.rows):
            return
        if self._earlier:
            computed = {_evaluation(row) for row in self.rows}
            self._earlier = [row for row in self._earlier if _evaluation(row) not in computed]
        rows = sorted([*self.rows, *self._earlier], key=_iteration) if self._earlier else self.rows
        with replacing(self.path, sync=self._sync) as stream:
            stream.write(_text(self.columns, rows))
        self._written = len(self.rows)

    @property
    def record(self) -> dict[str, int]:
        """How many rows the file has, and the last iteration of any seed."""
        rows = [*self.rows, *self._earlier]
        return {"rows": len(rows), "last_iteration": max((int(row["iteration"]) for row in rows), default=-1)}


def _iteration(row: Row) -> int:
    return int(row["iteration"])


def _evaluation(row: Row) -> tuple[str, str]:
    return row["seed"], row["iteration"]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file in UTF-8, as `parse_rows`."""
    return parse_rows(path.read_bytes().decode("utf-8"))


def parse_rows(text: str) -> list[Row]:
    """The rows of a CSV with a header. A row ends at a line feed outside of quotes; a torn last row is dropped.

    Raises: ValueError where a row has more or fewer cells than the header, or the text is not CSV.
    """
    reader = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="\n"), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        for cells in filter(None, reader):
            if len(cells) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, and the header {len(header)}")
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        if "unexpected end" not in str(error):  # the last row is torn within quotes
            raise ValueError(f"line {reader.line_num} is not CSV ({error})") from error
    return rows


def _text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Raises: ValueError for a row with a column that is not among these."""
    lines = [csv_line(columns)]
    for row in rows:
        if unknown := row.keys() - set(columns):
            raise ValueError(f"the table has no column {min(unknown)}")
        lines.append(csv_line(row.get(column, "") for column in columns))
    return "".join(lines)


def csv_line(cells: Iterable[str]) -> str:
    """A row of a CSV file. Python's writer does not quote a carriage return, at which readers end the row."""
    return ",".join('"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text for text in cells) + "\n"


def cell(value: Any) -> str:
    """A value as a CSV cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def permanent(row: Row, schedule: Schedule, iterations: Mapping[int, int]) -> bool:
    """True if this row stays when the run resumes from a checkpoint with this many iterations per seed."""
    iteration = int(row["iteration"])
    return schedule.includes(iteration) and iteration <= iterations.get(int(row["seed"]), -1)


def is_input(name: str) -> bool:
    """True for a file of a run's folder whose content is known before training."""
    return name == GAME or name.startswith(".hydra/")


def means_of_last_rows(rows: Sequence[Row], columns: Iterable[str]) -> dict[str, float | None]:
    """Means over seeds of these columns in the last rows; None where a seed has no value."""
    last = {row["seed"]: row for row in rows}.values()
    cells = {name: [row[name] for row in last] for name in columns}
    return {name: float(np.mean([float(cell) for cell in values])) if values and all(values) else None
            for name, values in cells.items()}  # fmt: skip


def first_hits(rows: Sequence[Row], seeds: Sequence[int]) -> dict[str, dict[str, int | None]]:
    """Queries at the first row at which each seed's exploitability is at or below each threshold; None if never."""
    hits: dict[str, dict[str, int | None]] = {}
    for threshold in THRESHOLDS:
        queries: dict[str, int | None] = {str(seed): None for seed in seeds}
        for row in rows:
            below = row["exploitability"] and float(row["exploitability"]) <= threshold
            if below and queries[row["seed"]] is None:
                queries[row["seed"]] = int(row["queries"])
        hits[f"{threshold:.0e}"] = queries
    return hits

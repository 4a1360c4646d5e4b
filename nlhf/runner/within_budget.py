"""The results of a completed run at a smaller budget than its own.

The budget does not identify a run, and a larger budget extends a run. A command with a smaller budget therefore gets
the rows up to its budget, and never the result of the larger budget.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.budget import Budget
from nlhf.config import ConfigError
from nlhf.records import POLICY_COLUMNS, Row, Table, means_of_last_rows

COST_COLUMNS = {"queries": "queries", "iterations": "iteration", "seconds": "seconds"}  # by the limit of a budget


def limits(budget: Mapping[str, Any]) -> str:
    """The limits of a budget in the notation of the command line, `budget.queries=10 budget.target=0.01`."""
    return " ".join(f"budget.{name}={value}" for name, value in budget.items() if value is not None)


def exceeds(summary: Mapping[str, Any], budget: Budget) -> bool:
    """True if the completed run of this summary had a larger budget than this one."""
    stored = summary.get("budget")
    if summary["status"] != "completed" or not isinstance(stored, Mapping):
        return False
    smaller = []
    for name, limit in asdict(budget).items():
        earlier = stored.get(name)
        tighter = earlier is None or (limit is not None and (limit > earlier if name == "target" else limit < earlier))
        smaller.append(limit is not None and tighter)
    return any(smaller)


def rows_within(rows: Sequence[Row], budget: Budget) -> tuple[list[Row], bool]:
    """The rows of a run with this budget, and True if every seed would stop at its last row.

    A seed stops at its first iteration that reaches a limit. If that iteration lies between two rows it is unknown, and
    the later row is left out.
    """
    by_seed: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_seed[row["seed"]].append(row)
    rows_of_seeds: list[Row] = []
    stops = True
    for seed_rows in by_seed.values():
        seed_rows.sort(key=lambda row: int(row["iteration"]))
        count, exact = _stop(seed_rows, budget)
        rows_of_seeds += seed_rows[:count]
        stops &= exact
    return rows_of_seeds, stops


def _stop(rows: Sequence[Row], budget: Budget) -> tuple[int, bool]:
    """How many rows of one seed lie within the budget, and whether the seed would stop at the last of them."""
    previous = -1
    for index, row in enumerate(rows):
        iteration = int(row["iteration"])
        costs = [(float(row[COST_COLUMNS[name]]), limit) for name, limit in asdict(budget).items()
                 if name in COST_COLUMNS and limit is not None]  # fmt: skip
        if any(cost > limit for cost, limit in costs) and iteration > previous + 1:
            return index, False
        # All rows but the last are scheduled; text has no exploitability.
        target = budget.target is not None and bool(row["exploitability"])
        if any(cost >= limit for cost, limit in costs) or (target and float(row["exploitability"]) <= budget.target):  # type: ignore[operator]
            return index + 1, True
        previous = iteration
    return len(rows), True


def rows_at(folder: Path, budget: Budget) -> list[Row]:
    """The rows of a run's metrics.csv up to this budget."""
    return _rows(folder, budget)[0]


def summary_within(folder: Path, summary: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """The summary of a run whose budget `exceeds` this one, with the metrics and costs at this budget."""
    rows = rows_at(folder, budget)
    last = {row["seed"]: row for row in rows}
    queries = [int(last[str(seed)]["queries"]) for seed in summary["seeds"]]
    return {**summary, "final": means_of_last_rows(rows, summary["final"]),
            "progress": {**summary["progress"], "queries": queries}}  # fmt: skip


def policy_within(folder: Path, summary: Mapping[str, Any], budget: Budget) -> np.ndarray:
    """Log-probabilities (S, X, Y) at this budget of a run whose budget `exceeds` it.

    Raises: ConfigError if they were not stored.
    """
    rows, exact = _rows(folder, budget)
    with np.load(folder / "policy.npz") as saved:
        final = np.array(saved["log_policy"])
    stop = {row["seed"]: row["iteration"] for row in rows}
    if exact and [int(stop[str(seed)]) for seed in summary["seeds"]] == summary["progress"]["iterations"]:
        return final  # the run had stopped for another reason than its larger limit
    table = Table(folder / "policies.csv", POLICY_COLUMNS)
    if not exact or not table.path.exists():
        raise ConfigError(
            f"{limits(asdict(budget))} is less than {folder} was run with ({limits(summary['budget'])}), and its "
            "policy at that point was not stored: use another study, or log_policy=true with a budget on the schedule."
        )
    table.load()
    cells: dict[str, list[float]] = {seed: [] for seed in stop}
    for row in table.rows:
        if stop.get(row["seed"]) == row["iteration"]:
            cells[row["seed"]].append(float(row["log_probability"]))
    return np.array([cells[str(seed)] for seed in summary["seeds"]]).reshape(final.shape)


def _rows(folder: Path, budget: Budget) -> tuple[list[Row], bool]:
    table = Table(folder / "metrics.csv", ())
    table.load()
    return rows_within(table.rows, budget)

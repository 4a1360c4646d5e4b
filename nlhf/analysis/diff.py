"""What differs between two runs: config, versions, and the first row."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.study import Study, load_study

UNTOLD = ("run", "seconds")  # columns that two equal runs need not share
Entry = tuple[str, str, str]


def diff(first: Path, second: Path) -> tuple[list[Entry], list[Entry], str]:
    """The entries of configs and of versions that differ, (key, first, second), and a sentence on the rows.

    Raises: AnalysisError where a folder is not that of one run.
    """
    a, b = _one(first), _one(second)
    before, after = a.runs[0], b.runs[0]
    versions = [_made_with(run) for run in (before, after)]
    configs = [_flat_inputs(run) | run["config"] for run in (before, after)]
    return _entries(*configs), _entries(*versions), _rows(a.rows, b.rows)


def _made_with(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made with, how it ended, and which of its files are damaged."""
    summary, damage = run["summary"], {"damage": " ".join(run["damage"])} if run["damage"] else {}
    keys = ("results_version", "commit", "platform", "threads")
    versions = (summary.get("versions") or {}) | {key: summary.get(key) for key in keys}
    return {"status": run["status"], **damage, **versions}


def _flat_inputs(run: Mapping[str, Any]) -> dict[str, str]:
    """Checksums of a run's input files by `sha256 of game.path`."""
    inputs: Mapping[str, str] = run["summary"].get("inputs") or {}
    return {f"sha256 of {key}": digest[:16] for key, digest in inputs.items()}


def _one(folder: Path) -> Study:
    study = load_study(folder)
    if len(study.runs) != 1:
        raise AnalysisError(f"{folder} holds {len(study.runs)} runs: give the folder of one, runs/STUDY/RUN.")
    return study


def _entries(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Entry]:
    keys = sorted({*first, *second})
    pairs = [(key, str(first.get(key, "-")), str(second.get(key, "-"))) for key in keys]
    return [(key, a, b) for key, a, b in pairs if a != b]


def _rows(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Where the rows of two runs part: seed by seed in the order of iterations, every column but the time."""
    key = ["seed", "iteration"]
    columns = [name for name in a.columns[: a.columns.get_loc("status")] if name in b.columns and name not in UNTOLD]
    first, second = (rows[columns].set_index(key).sort_index() for rows in (a, b))
    shared = first.index.intersection(second.index).sort_values()
    left, right = first.loc[shared], second.loc[shared]
    same = (left == right) | (left.isna() & right.isna())
    wrong = ~same.drop(columns=[name for name in ("game", "algorithm") if name in same]).all(axis=1)
    if wrong.any():
        earliest = min(shared[wrong], key=lambda place: place[::-1])
        column = next(
            name for name in same.columns if name not in ("game", "algorithm") and not same.loc[earliest, name]
        )
        return (
            f"The first differing row is iteration {earliest[1]} of seed {earliest[0]}: {column} is "
            f"{left.loc[earliest, column]} and {right.loc[earliest, column]}; {int(wrong.sum())} of "
            f"{len(shared)} shared rows differ."
        )
    if not len(shared):
        return "The runs share no row: their seeds differ."
    only = [
        f"{len(rows) - len(shared)} more in the {name}"
        for rows, name in ((first, "first"), (second, "second"))
        if len(rows) > len(shared)
    ]
    return f"All {len(shared)} shared rows are equal to the bit" + (f", with {' and '.join(only)}." if only else ".")


def shown(entries: list[Entry], title: str) -> list[str]:
    """Lines of a table of entries."""
    if not entries:
        return [f"{title}: no difference"]
    widths = [max(len(entry[k]) for entry in entries) for k in (0, 1)]
    return [
        f"{title}:",
        *(f"  {key:<{widths[0]}}  {a:<{widths[1]}}  {b}" for key, a, b in itertools.islice(entries, 200)),
    ]

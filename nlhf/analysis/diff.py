"""The differences between two runs: config, versions, and the first differing row."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.study import Study, load_study

IGNORED = ("run", "seconds")  # columns that differ between equal runs
Entry = tuple[str, str, str]


def diff(first: Path, second: Path) -> tuple[list[Entry], list[Entry], str]:
    """The differing entries of configs and versions, (key, first, second), and a sentence on the rows.

    Raises: AnalysisError if a folder does not hold exactly one run.
    """
    a, b = _one(first), _one(second)
    before, after = a.runs[0], b.runs[0]
    versions = [_made_with(run) for run in (before, after)]
    configs = [_flat_inputs(run) | run["config"] for run in (before, after)]
    return _entries(*configs), _entries(*versions), _rows(a.rows, b.rows)


def _made_with(run: Mapping[str, Any]) -> dict[str, Any]:
    """The versions of a run, how it ended, and its damaged files."""
    summary, damage = run["summary"], {"damage": " ".join(run["damage"])} if run["damage"] else {}
    keys = ("results_version", "commit", "platform", "threads")
    versions = (summary.get("versions") or {}) | {key: summary.get(key) for key in keys}
    return {"status": run["status"], **damage, **versions}


def _flat_inputs(run: Mapping[str, Any]) -> dict[str, str]:
    """The checksums of a run's input files, with keys such as `sha256 of game.path`."""
    inputs: Mapping[str, str] = run["summary"].get("inputs") or {}
    return {f"sha256 of {key}": digest[:16] for key, digest in inputs.items()}


def _one(folder: Path) -> Study:
    study = load_study(folder)
    if len(study.runs) != 1:
        raise AnalysisError(f"{folder} holds {len(study.runs)} runs: give the folder of one run, runs/STUDY/RUN.")
    return study


def _entries(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Entry]:
    keys = sorted({*first, *second})
    pairs = [(key, str(first.get(key, "-")), str(second.get(key, "-"))) for key in keys]
    return [(key, a, b) for key, a, b in pairs if a != b]


def _rows(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """The first difference between the rows of two runs, by seed and iteration, ignoring times."""
    key = ["seed", "iteration"]
    columns = [name for name in a.columns[: a.columns.get_loc("random")] if name in b.columns and name not in IGNORED]
    first, second = (rows[columns].set_index(key).sort_index() for rows in (a, b))
    shared = first.index.intersection(second.index).sort_values()
    before, after = first.loc[shared], second.loc[shared]
    same = (before == after) | (before.isna() & after.isna())
    wrong = ~same.drop(columns=[name for name in ("game", "algorithm") if name in same]).all(axis=1)
    if wrong.any():
        earliest = min(shared[wrong], key=lambda row: row[::-1])
        column = next(
            name for name in same.columns if name not in ("game", "algorithm") and not same.loc[earliest, name]
        )
        return (
            f"The first differing row is iteration {earliest[1]} of seed {earliest[0]}: {column} is "
            f"{before.loc[earliest, column]} and {after.loc[earliest, column]}; {int(wrong.sum())} of "
            f"{len(shared)} shared rows differ."
        )
    if not len(shared):
        return "The runs share no row: their seeds differ."
    further = [
        f"{len(rows) - len(shared)} more in the {name}"
        for rows, name in ((first, "first"), (second, "second"))
        if len(rows) > len(shared)
    ]
    return f"All {len(shared)} shared rows are exactly equal" + (f", with {' and '.join(further)}." if further else ".")


def shown(entries: list[Entry], title: str) -> list[str]:
    """Lines of a table of entries."""
    if not entries:
        return [f"{title}: no difference"]
    widths = [max(len(entry[k]) for entry in entries) for k in (0, 1)]
    return [
        f"{title}:",
        *(f"  {key:<{widths[0]}}  {a:<{widths[1]}}  {b}" for key, a, b in itertools.islice(entries, 200)),
    ]

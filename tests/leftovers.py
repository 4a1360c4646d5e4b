"""What a run leaves behind, whether that is right after a kill, and how two runs differ."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.study import load_study
from nlhf.io.checksums import damaged
from nlhf.io.json_files import read_json
from nlhf.launch import status

SUMMARY = ("status", "stop_reason", "fingerprint", "results_version", "seeds", "method", "final",
           "queries_to_exploitability", "equilibrium", "vectorised_with")  # fmt: skip


def left_behind(folder: Path) -> dict[str, Any]:
    """All results of a run, without times; a run killed once it is complete may leave its lock and checkpoint, too."""
    summary = read_json(folder / "summary.json") or {}
    progress = {name: value for name, value in summary.get("progress", {}).items() if name != "seconds"}
    found: dict[str, Any] = {"summary": {name: summary.get(name) for name in SUMMARY} | {"progress": progress}}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in ("lock", "checkpoint.pt"):
            continue
        found[name] = None  # its presence counts
        if path.suffix == ".csv":
            found[name] = rows(path)
        elif path.suffix == ".npz":
            with np.load(path) as saved:
                found[name] = {key: (saved[key].dtype.str, saved[key].tobytes()) for key in saved}
        elif path.suffix == ".yaml":
            found[name] = path.read_text(encoding="utf-8")
        elif path.suffix in (".jsonl", ".safetensors"):
            found[name] = path.read_bytes()
    return found


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], close: bool = False) -> list[str]:
    """The names of the files, or `summary`, that differ.

    Args:
        close: compare numbers up to rounding; runs that are computed as one batch round in another order.
    """
    names = dict.fromkeys([*expected, *found])
    same = _close if close else lambda _, one, other: one == other
    return [name for name in names
            if not (name in expected and name in found and same(name, expected[name], found[name]))]  # fmt: skip


def _close(name: str, expected: Any, found: Any) -> bool:
    if name == "summary":
        kept = ("status", "stop_reason", "fingerprint", "seeds")
        return all(expected[key] == found[key] for key in kept)
    if name.endswith(".csv"):
        cells = [[cell for row in table for cell in row.values()] for table in (expected, found)]
        return len(cells[0]) == len(cells[1]) and all(map(_close_cells, *cells))
    if name.endswith(".npz"):
        return expected.keys() == found.keys() and all(
            dtype[1] != "f" or np.allclose(*(np.frombuffer(data, dtype) for data in (one, found[key][1])), atol=1e-10,
                                           equal_nan=True) for key, (dtype, one) in expected.items()
        )  # fmt: skip
    return bool(expected == found)


def _close_cells(expected: str, found: str) -> bool:
    if expected == found:
        return True
    try:
        return math.isclose(float(expected), float(found), rel_tol=1e-7, abs_tol=1e-12)
    except ValueError:
        return False


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without times."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def last_iterations(folder: Path) -> dict[str, int]:
    """The last iteration on disk, by seed."""
    last: dict[str, int] = {}
    if (folder / "metrics.csv").exists():
        for row in rows(folder / "metrics.csv"):
            last[row["seed"]] = max(last.get(row["seed"], -1), int(row["iteration"]))
    return last


def faults(folder: Path, before: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a run's folder after a kill.

    Args:
        before: the last iteration of every seed before the command; no instant may have fewer.
    """
    now = last_iterations(folder)
    if lost := {seed: now.get(seed, -1) for seed, reached in before.items() if now.get(seed, -1) < reached}:
        yield f"rows were lost: {dict(before)} became {lost}"
    summary = read_json(folder / "summary.json")
    if summary is None and (folder / "summary.json").exists():
        yield "summary.json is torn"
    if summary and summary["status"] == "completed":
        yield from _summary_faults(folder, summary, now)
    yield from _status_faults(folder, (summary or {}).get("status"))
    try:
        load_study(folder.parent)
    except AnalysisError:
        pass
    except Exception as problem:
        yield f"analysis: {problem!r}"


def _status_faults(folder: Path, state: str | None) -> Iterator[str]:
    if not folder.is_dir():
        return
    try:
        status.show(folder.parent, Counter())
        shown = {run.name: run.state for run in status.states(folder.parent)}
    except Exception as problem:
        yield f"status: {problem!r}"
        return
    if shown.get(folder.name) not in (None, "interrupted" if state in (None, "running") else state):
        yield f"summary.json says {state}, status says {shown[folder.name]}"


def _summary_faults(folder: Path, summary: Mapping[str, Any], now: Mapping[str, int]) -> Iterator[str]:
    claimed = dict(zip(map(str, summary["seeds"]), summary["progress"]["iterations"], strict=True))
    if claimed != now:
        yield f"summary.json says completed at {claimed}, metrics.csv ends at {now}"
    if wrong := damaged(folder, summary["files"]):
        yield f"summary.json says completed, but {', '.join(wrong)} differ"

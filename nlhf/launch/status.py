"""The status of a study from its files: states of runs, progress of running ones, reasons of failures."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nlhf.io.checksums import stamp
from nlhf.io.files import is_moved_aside
from nlhf.io.json_files import read_json
from nlhf.io.yaml_files import read_yaml
from nlhf.records import means_of_last_rows, read_rows
from nlhf.runner.live import row_in_words
from nlhf.runner.owner import is_alive, owner_of

Kind = tuple[str, str]  # game and algorithm, by name
METRICS = "metrics.csv"
IDENTITY = {"run", "game", "algorithm", "seed"}  # columns of metrics.csv that are not results
LATEST = 1e11  # seconds since 1970: the last time that calendars can show
KILLED = "killed: it goes on when the command is repeated"
RESTORE = "repeat the command, which restores it, or add force=true if there is no checkpoint"


@dataclass(frozen=True)
class RunState:
    """One run.

    Args:
        name: the name of the run and of its folder.
        state: completed, failed, interrupted, running or damaged.
        share: the part of its budget that the slowest seed has spent; None if it is not running or has no limit.
        seconds_left: estimate from the pace so far, or None.
        result: the main results of the last rows of a running run, in words.
        detail: the last line of a failure, the damaged file, or the process that works on it.
        checked: False if it was completed before files had checksums.
        caveat: of the method of a run that has ended.
    """

    name: str
    state: str
    share: float | None = None
    seconds_left: float | None = None
    result: str = ""
    detail: str = ""
    checked: bool = True
    caveat: str = ""


def states(study: Path) -> Iterator[RunState]:
    """Every run of a study in the order of names, without those that force=true moved aside."""
    for folder in sorted(path for path in study.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if is_moved_aside(folder.name):
            continue
        owner = owner_of(folder / "lock")
        if owner and is_alive(owner):
            yield running(folder, f"process {owner.get('pid')} on {owner.get('host')}")
        elif (folder / "summary.json").exists():  # correct even if its process died before it removed the lock
            yield _ended(folder, killed=bool(owner))
        elif owner or (folder / ".hydra").exists():
            yield RunState(folder.name, "interrupted", detail=KILLED)


def _ended(folder: Path, killed: bool) -> RunState:
    """The state in the summary of a run without a process; `killed`: the last process left its lock."""
    summary = read_json(folder / "summary.json") or {}
    status, files = summary.get("status"), summary.get("files") or {}
    if status not in ("running", "completed", "failed", "interrupted") or not isinstance(files, dict):
        return RunState(folder.name, "damaged", detail=f"summary.json is damaged: {RESTORE}")
    if status == "running" or (killed and status == "interrupted"):
        return RunState(folder.name, "interrupted", detail=KILLED)
    if name := next((name for name, record in files.items() if _differs(folder / name, record)), None):
        return RunState(folder.name, "damaged", detail=f"{name} is damaged: {RESTORE}")
    reason = str(summary.get("stop_reason")) if status == "failed" else ""
    method = summary.get("method")
    caveat = str(method.get("caveat") or "") if isinstance(method, dict) else ""
    return RunState(folder.name, status, detail=reason, checked=bool(files) or status != "completed", caveat=caveat)


def _differs(path: Path, record: Any) -> bool:
    """True if a file's size or, where its stamp has changed, a table's number of rows differs from its record.

    Contents are not compared: that would read all files of a study.
    """
    now = stamp(path)
    if now is None or not isinstance(record, Mapping) or now[0] != record.get("bytes"):
        return True
    if now == record.get("stamp") or path.name != METRICS:
        return False
    try:
        return path.read_bytes().count(b"\n") != int(record["rows"]) + 1  # no cell of this table has a line break
    except (OSError, KeyError, TypeError, ValueError):
        return True


def running(folder: Path, process: str = "") -> RunState:
    """The progress of a running run, from its last rows.

    Args:
        process: which one works on it, in words.
    """
    try:
        share, seconds, result = _progress(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):  # no progress yet
        return RunState(folder.name, "running", detail=process)
    seconds_left = seconds * (1 - share) / share if share > 0 else None
    return RunState(folder.name, "running", share, seconds_left, result, process)


def _progress(folder: Path) -> tuple[float, float, str]:
    """The share of its budget that the slowest seed has spent, its seconds, and the mean results in words."""
    config = read_yaml(folder / ".hydra" / "config.yaml", dict)
    last = {row["seed"]: row for row in read_rows(folder / METRICS)}
    if not last or len(last) < len(config["seeds"]):
        return 0.0, 0.0, ""
    shares = [_share(config["budget"], cells) for cells in last.values()]
    seconds = [float(cells["seconds"]) for cells in last.values()]
    if not all(0 <= value < math.inf for value in (*shares, *seconds)):
        raise ValueError("a damaged table")
    rows = list(last.values())
    return min(shares), max(seconds), row_in_words(means_of_last_rows(rows, rows[0].keys() - IDENTITY))


def _share(budget: Mapping[str, Any], cells: Mapping[str, str]) -> float:
    columns = {"queries": "queries", "iterations": "iteration", "seconds": "seconds"}
    limits = ((float(cells[column]), budget.get(name)) for name, column in columns.items())
    return max((min(1.0, value / limit) for value, limit in limits if limit), default=0.0)


def measured_seconds(studies: Iterable[Path]) -> dict[Kind, float]:
    """Median wall time of the completed runs of each kind."""
    times: dict[Kind, list[float]] = {}
    for study in studies:
        for file in study.glob("*/summary.json"):
            summary = read_json(file) or {}
            if summary.get("status") != "completed" or is_moved_aside(file.parent.name):
                continue
            seconds = summary.get("wall_seconds")
            if isinstance(seconds, int | float) and 0 <= seconds < math.inf:
                game, _, suffix = str(summary.get("run")).partition("-")
                times.setdefault((game, suffix.rpartition("-")[0]), []).append(float(seconds))
    return {kind: statistics.median(values) for kind, values in times.items()}


def show(study: Path, not_begun: Mapping[str, int]) -> list[str]:
    """The lines of `status`: counts, the running runs, the failed ones, and when all may be done."""
    runs = list(states(study))
    counts = Counter(run.state for run in runs) + Counter(not_begun)
    lines = [f"{study}: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "no run yet")]
    lines += [f"  running      {in_words(run)}  {run.detail}" for run in runs if run.state == "running"]
    lines += [f"  {run.state:<12} {run.name}  {run.detail}" for run in runs if run.detail and run.state != "running"]
    caveats = Counter(run.caveat for run in runs if run.caveat)
    lines += [f"  note         {caveat} ({count} run{'s' * (count > 1)})" for caveat, count in caveats.items()]
    if unchecked := sum(not run.checked for run in runs):
        lines.append(f"  {unchecked} completed before files had checksums: damage to them would go unnoticed")
    if not_begun["missing"]:
        lines.append("  SLURM has dropped the missing runs: repeat the command to run them")
    if end := _end(study, runs, not_begun["pending"]):
        lines.append(f"all may be done at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(end))}")
    return lines


def in_words(run: RunState) -> str:
    """The name of a running run, the spent share of its budget, the time left and its last results."""
    far = "" if run.share is None else f"{run.share:.0%}"
    result = f", {run.result}" if run.result else ""
    remaining = "" if run.seconds_left is None else f", about {run.seconds_left:.0f} s left"
    return f"{run.name}  {far}{remaining}{result}"


def _end(study: Path, runs: list[RunState], pending: int) -> float | None:
    """When the last run may end: running runs at their pace, pending ones at the median of completed runs.

    None if no run is running, or one of them has no pace yet.
    """
    seconds_left = [run.seconds_left for run in runs if run.state == "running"]
    estimates = [seconds for seconds in seconds_left if seconds is not None]
    if not estimates or len(estimates) < len(seconds_left):
        return None
    seconds = measured_seconds([study]).values()
    waiting = pending * statistics.median(seconds) / len(estimates) if pending and seconds else 0.0
    end = time.time() + max(estimates) + waiting
    return end if end < LATEST else None


def as_json(study: Path, not_begun: Mapping[str, int]) -> dict[str, Any]:
    """The status for programs."""
    runs = list(states(study))
    counts = Counter(run.state for run in runs) + Counter(not_begun)
    return {"study": str(study), "counts": dict(counts), "runs": [asdict(run) for run in runs]}

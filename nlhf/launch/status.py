"""What a study's files say: how many runs in which state, how far the running ones are, why others failed."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from nlhf.files import read_json
from nlhf.launch.lock import is_alive, owner_of
from nlhf.records import read_rows

Kind = tuple[str, str]  # game and algorithm, by name


@dataclass(frozen=True)
class RunState:
    """One run.

    Args:
        name: of the run, and of its folder.
        state: completed, failed, interrupted, running or damaged.
        done: share of its budget that the slowest seed has spent; None where it is not running, or has no limit.
        seconds_left: at its pace so far, or None.
        words: the last line of a failure, or who works on it.
    """

    name: str
    state: str
    done: float | None = None
    seconds_left: float | None = None
    words: str = ""


def states(study: Path) -> Iterator[RunState]:
    """Every run of a study, in the order of names."""
    for folder in sorted(path for path in study.iterdir() if path.is_dir() and not path.name.startswith(".")):
        owner = owner_of(folder / "lock")
        summary = read_json(folder / "summary.json")
        if owner and is_alive(owner):
            yield _running(folder, owner)
        elif summary and not owner:
            failed = summary.get("status") == "failed"
            yield RunState(folder.name, str(summary.get("status")), words=str(summary["stop_reason"]) if failed else "")
        elif not owner and (folder / "summary.json").exists():
            yield RunState(
                folder.name, "damaged", words="summary.json cannot be read: remove it, and repeat the command"
            )
        elif (folder / ".hydra").exists() or owner:
            yield RunState(folder.name, "interrupted", words="killed: it goes on when the command is repeated")


def _running(folder: Path, owner: Mapping[str, object]) -> RunState:
    """How far a running run is, from the last rows that it wrote."""
    words = f"process {owner.get('pid')} on {owner.get('host')}"
    try:
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_bytes())
        last = {row["seed"]: row for row in read_rows(folder / "metrics.csv")}
    except (OSError, ValueError):
        return RunState(folder.name, "running", words=words)
    if not last or len(last) < len(config["seeds"]):
        return RunState(folder.name, "running", 0.0, words=words)
    shares = [_share(config["budget"], cells) for cells in last.values()]
    done, seconds = min(shares), max(float(cells["seconds"]) for cells in last.values())
    left = seconds * (1 - done) / done if done > 0 else None
    return RunState(folder.name, "running", done, left, words)


def _share(budget: Mapping[str, Any], cells: Mapping[str, str]) -> float:
    columns = {"queries": "queries", "iterations": "iteration", "seconds": "seconds"}
    limits = ((float(cells[column]), budget.get(name)) for name, column in columns.items())
    return max((min(1.0, value / limit) for value, limit in limits if limit), default=0.0)


def measured_seconds(studies: Iterable[Path]) -> dict[Kind, float]:
    """Median wall time of the completed runs of each kind."""
    found: dict[Kind, list[float]] = {}
    for study in studies:
        for file in study.glob("*/summary.json"):
            summary = read_json(file)
            if summary and summary.get("status") == "completed" and "wall_seconds" in summary:
                game, _, rest = str(summary["run"]).partition("-")
                found.setdefault((game, rest.rpartition("-")[0]), []).append(float(summary["wall_seconds"]))
    return {kind: statistics.median(times) for kind, times in found.items()}


def show(study: Path, not_begun: Mapping[str, int]) -> list[str]:
    """The lines of `status`: counts, the running runs, the failed ones, and when all may be done."""
    runs = list(states(study))
    counts = Counter(run.state for run in runs) + Counter(not_begun)
    lines = [f"{study}: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "no run yet")]
    for run in runs:
        if run.state == "running":
            far = "" if run.done is None else f"{run.done:.0%}"
            left = "" if run.seconds_left is None else f", about {run.seconds_left:.0f} s left"
            lines.append(f"  running      {run.name}  {far}{left}  {run.words}")
    lines += [f"  {run.state:<12} {run.name}  {run.words}" for run in runs if run.words and run.state != "running"]
    if not_begun["missing"]:
        lines.append("  SLURM has dropped what is missing: it is run when the command is repeated")
    if end := _end(study, runs, not_begun["pending"]):
        lines.append(f"all may be done at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(end))}")
    return lines


def _end(study: Path, runs: list[RunState], pending: int) -> float | None:
    """When the last run may end: the running ones at their pace, pending ones as the median of those completed."""
    running = [run for run in runs if run.state == "running"]
    if not running:
        return None
    known = measured_seconds([study]).values()
    waiting = pending * statistics.median(known) / len(running) if pending and known else 0.0
    return time.time() + max((run.seconds_left or 0.0) for run in running) + waiting


def as_json(study: Path, not_begun: Mapping[str, int]) -> dict[str, Any]:
    """The same for programs."""
    runs = list(states(study))
    counts = Counter(run.state for run in runs) + Counter(not_begun)
    return {"study": str(study), "counts": dict(counts), "runs": [asdict(run) for run in runs]}

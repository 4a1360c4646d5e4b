"""Run folders as the trainer leaves them, written from given curves in a millisecond, without a trainer.

A curve is a sequence of (iteration, queries, value); `value` becomes the exploitability and, by default, the divergence
from the equilibrium, so that a study's statistics are known before it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nlhf.io.checksums import file_record
from nlhf.io.json_files import write_json
from nlhf.records import COLUMNS, cell

Curve = Sequence[tuple[int, int, float]]
STEP = 0.01  # seconds an iteration


def write_run(
    root: Path,
    algorithm: str = "nash_mp",
    game: str = "random_tournament",
    beta: float = 0.05,
    *,
    curves: Mapping[int, Curve],
    status: str | None = "completed",
    bounds: Mapping[int, Sequence[float]] | None = None,
    extra: Mapping[str, Mapping[int, Sequence[float]]] | None = None,
    overrides: Sequence[str] = (),
    summary: Mapping[str, Any] | None = None,
    columns: Sequence[str] = COLUMNS,
    name: str | None = None,
    checksums: bool = True,
    **config: Any,
) -> Path:
    """Write the folder of one run below `root` and return it.

    Args:
        curves: the rows of every seed.
        status: of summary.json; None leaves it out, as where a run was killed.
        bounds: what the theorem promises at the rows of a seed, `kl_bound`; empty cells by default.
        extra: further columns by name, or others' values, by seed; nan is an empty cell.
        overrides: of .hydra/overrides.yaml.
        summary: further entries of summary.json.
        columns: of metrics.csv, in their order.
        name: of the folder; by default the trainer's, with a hash of the config.
        checksums: of the files in summary.json; without them later changes to the files are taken as they are.
        config: entries of the config by key, nested ones with `__` for the dot: `algorithm__step_size=1`.
    """
    columns = [*columns, *(name for name in extra or () if name not in columns)]
    entries = {"beta": beta, "seeds": sorted(curves), "names__game": game, "names__algorithm": algorithm}
    entries |= {
        "game___target_": f"nlhf.games.{game}.Game",
        "algorithm___target_": f"nlhf.algorithms.{algorithm}.Method",
    }
    content = nested({key.replace("__", ".", 1): value for key, value in (entries | config).items()})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    folder = Path(root) / (name or f"{game}-{algorithm}-{digest[:12]}")
    (folder / ".hydra").mkdir(parents=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    (folder / ".hydra" / "config.yaml").write_text(yaml.dump(content, Dumper=dumper, sort_keys=False))
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.dump(list(overrides), Dumper=dumper))
    head = {"run": folder.name, "game": game, "algorithm": algorithm}
    lines = [",".join(columns)]
    for seed in sorted(curves):
        for place, (iteration, queries, value) in enumerate(curves[seed]):
            row: dict[str, Any] = head | {"seed": seed, "iteration": iteration, "queries": queries}
            row |= {"seconds": iteration * STEP, "exploitability": float(value)}
            row["kl_to_equilibrium"] = row["exploitability"]
            row |= {} if bounds is None else {"kl_bound": float(bounds[seed][place])}
            row |= {column: float(values[seed][place]) for column, values in (extra or {}).items()}
            lines.append(",".join(cell(row.get(column)) for column in columns))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if status is not None:
        content = {"status": status, "run": folder.name, **(summary or {})}
        if checksums:
            names = ("metrics.csv", ".hydra/config.yaml", ".hydra/overrides.yaml")
            content["files"] = {name: file_record(folder / name) for name in names}
            content["files"]["metrics.csv"] |= {"rows": len(lines) - 1}
        write_json(folder / "summary.json", content)
    return folder


def geometric(
    first: float, ratio: float, iterations: Iterable[int], queries_each: int = 1
) -> list[tuple[int, int, float]]:
    """The curve first * ratio^queries at some iterations of so many queries each."""
    return [(k, queries_each * k, first * ratio ** (queries_each * k)) for k in iterations]


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A config of nested mappings; the inverse of what `load` does to its keys."""
    config: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, last = key.rpartition(".")
        (config.setdefault(group, {}) if group else config)[last] = value
    return config

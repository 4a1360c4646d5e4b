"""One run's folder as rows and a record; a damaged file is named in a sentence and never raises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.metrics_file import EMPTY, read_rows
from nlhf.io.checksums import damaged
from nlhf.io.json_files import read_json
from nlhf.io.yaml_files import read_yaml

NEEDED = ("metrics.csv", ".hydra/config.yaml")  # a run with one of these damaged is no observation
FURTHER = (".hydra/overrides.yaml", "game.npz", "policies.csv", "completions.jsonl")
FILES = ("summary.json", ".hydra/identity.yaml", *NEEDED, *FURTHER)  # what a record depends on
IDENTITY = ("results_version", "inputs", "digests")  # entries of identity.yaml that tell runs apart
LARGEST = 1 << 23  # bytes of a further file up to which its content is checked; a larger one is in no figure
ENDED = ("completed", "failed", "interrupted")
REMEDY = "repeat the command of the run, which restores it, or add force=true if there is no checkpoint"
TEXT, SCALAR = (str, type(None)), (str, int, float, type(None))
KINDS: Mapping[str, tuple[type, ...]] = {  # of those entries of summary.json that are used, where there are any
    **dict.fromkeys(("run", "stop_reason", "commit", "platform", "threads", "results_version"), SCALAR),
    **dict.fromkeys(("method", "versions", "files", "inputs", "digests"), (dict, type(None))),
}


def read_run(folder: Path) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of a run and its record, without what is damaged.

    Returns: an arrow table, empty if metrics.csv or the config is damaged; and the record: `folder`, `status` (that of
    summary.json; `unfinished` if the run has not ended, or `damaged`), `config` (flat), `overrides`, `summary` without
    its checksums, `checked` (can damage to the files be detected?) and `damage`, a sentence per damaged file.
    """
    summary, damage = _summary(folder / "summary.json")
    ended = summary.get("status") in ENDED
    files = _checked(summary.pop("files", None) or {}) if ended else {}
    lost = damaged(folder, files)
    damage += [f"{folder / name} is damaged or missing{_consequence(name)}: {REMEDY}." for name in lost]
    rows = EMPTY
    if not set(lost) & set(NEEDED):
        try:
            rows = read_rows(folder / "metrics.csv")
        except AnalysisError as problem:
            damage.append(str(problem))
            lost.append("metrics.csv")
    config = {} if ".hydra/config.yaml" in lost else _flat(read_yaml(folder / ".hydra" / "config.yaml", dict) or {})
    overrides = [] if ".hydra/overrides.yaml" in lost else read_yaml(folder / ".hydra" / "overrides.yaml", list) or []
    status = "damaged" if set(lost) & set(NEEDED) else summary["status"] if ended else "unfinished"
    record = {
        "folder": str(folder),
        "status": status,
        "config": config,
        "overrides": [str(word) for word in overrides],
        "summary": summary,
        "checked": bool(files) or status != "completed",
        "damage": damage,
    }
    return rows, record


def _summary(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of summary.json, or of a run without one what identifies it; and a sentence if it is damaged."""
    content = read_json(path)
    if content is not None and _plausible(content):
        return content, []
    identity = read_yaml(path.parent / ".hydra" / "identity.yaml", dict) or {}
    identity = {name: identity[name] for name in IDENTITY if name in identity}
    identity = identity if _plausible({"status": "running"} | identity) else {}
    if not path.exists():
        return identity, []
    return identity, [f"{path} is damaged, so that the run counts as unfinished: {REMEDY}."]


def _plausible(summary: Mapping[str, Any]) -> bool:
    """Does every entry that analysis uses have its type?"""
    if summary.get("status") not in (*ENDED, "running"):
        return False
    if not all(isinstance(summary[name], kinds) for name, kinds in KINDS.items() if name in summary):
        return False
    method = summary.get("method") or {}
    sources = method.get("sources", [])
    tables = [summary.get(name) or {} for name in ("versions", "inputs", "digests")]
    texts = [method.get("caveat"), *(value for table in tables for value in table.values())]
    listed = isinstance(sources, list) and all(isinstance(source, str) for source in sources)
    return listed and all(isinstance(text, TEXT) for text in texts)


def _checked(files: Mapping[str, Any]) -> dict[str, Any]:
    """The records of those files whose damage matters here."""
    small = {name: record for name, record in files.items() if name in FURTHER and _size(record) <= LARGEST}
    return small | {name: files[name] for name in NEEDED if name in files}


def _size(record: Any) -> float:
    size = record.get("bytes") if isinstance(record, Mapping) else 0
    return size if isinstance(size, int) else 0


def _consequence(name: str) -> str:
    return ", so that the run is left out" if name in NEEDED else " and not used"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; values other than numbers, texts and null become text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str | int | float | None) else str(value)
    return flat

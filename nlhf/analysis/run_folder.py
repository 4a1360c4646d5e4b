"""The folder of one run as rows and a record; a damaged file gives a sentence, never an error."""

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
from nlhf.records import BY_PROMPT

NEEDED = ("metrics.csv", ".hydra/config.yaml")  # if one of these is damaged, the run is left out
FURTHER = (".hydra/overrides.yaml", "game.npz", "policies.csv", "completions.jsonl", BY_PROMPT)
FILES = ("summary.json", ".hydra/identity.yaml", *NEEDED, *FURTHER)  # which decide the record
IDENTITY = ("results_version", "inputs", "digests")  # entries of identity.yaml that distinguish runs
LARGEST = 1 << 23  # bytes; larger files are neither checked nor drawn
ENDED = ("completed", "failed", "interrupted")
REMEDY = "repeat the command of the run, which restores it, or add force=true if there is no checkpoint"
TEXT, SCALAR = (str, type(None)), (str, int, float, type(None))
KINDS: Mapping[str, tuple[type, ...]] = {  # the types of the entries of summary.json that the analysis uses
    **dict.fromkeys(("run", "stop_reason", "commit", "platform", "threads", "results_version"), SCALAR),
    **dict.fromkeys(("method", "versions", "files", "inputs", "digests"), (dict, type(None))),
}


def read_run(folder: Path) -> tuple[pa.Table, dict[str, Any]]:
    """The rows and the record of a run, without its damaged files.

    Returns: an arrow table, empty if metrics.csv or the config is damaged; and the record: `folder`, `status` (that of
    summary.json; `unfinished` if the run has not ended, or `damaged`), `config` (flat), `overrides`, `summary` without
    its checksums, `checked` (whether damage to the files can be detected) and `damage`, a sentence per damaged file.
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
    """The content of summary.json, or else of identity.yaml, and a sentence if it is damaged."""
    content = read_json(path)
    if content is not None and _plausible(content):
        return content, []
    identity = read_yaml(path.parent / ".hydra" / "identity.yaml", dict) or {}
    identity = {name: identity[name] for name in IDENTITY if name in identity}
    identity = identity if _plausible({"status": "running"} | identity) else {}
    if not path.exists():
        return identity, []
    return identity, [f"{path} is damaged, so the run counts as unfinished: {REMEDY}."]


def _plausible(summary: Mapping[str, Any]) -> bool:
    """True if every entry that the analysis uses has its type."""
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
    """The records of the files whose damage matters to the analysis."""
    small = {name: record for name, record in files.items() if name in FURTHER and _size(record) <= LARGEST}
    return small | {name: files[name] for name in NEEDED if name in files}


def _size(record: Any) -> float:
    size = record.get("bytes") if isinstance(record, Mapping) else 0
    return size if isinstance(size, int) else 0


def _consequence(name: str) -> str:
    return ", so the run is left out" if name in NEEDED else " and not used"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; values other than numbers, texts and null become text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str | int | float | None) else str(value)
    return flat

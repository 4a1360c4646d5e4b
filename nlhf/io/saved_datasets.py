"""Folders that `save_to_disk` of Hugging Face's datasets writes, read by pyarrow without that package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.frames import RecordFrame

STATE, SPLITS = "state.json", "dataset_dict.json"  # of a folder with one split, and of one with a folder for each


def is_saved(folder: Path) -> bool:
    """True for a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` has written."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def saved_frame(folder: Path, split: str | None, name: str) -> RecordFrame:
    """The rows of a split.

    Args:
        folder: what `save_to_disk` has written.
        split: of a folder with several; None refuses such a folder.
        name: the key and the folder, for messages.

    Raises: ConfigError for a split that is not there, and for a damaged folder.
    """
    import pyarrow as pa

    if (folder / SPLITS).is_file():
        splits = _entry(folder / SPLITS, "splits", name)
        if split is None or split not in splits:
            problem = "has several splits" if split is None else f"has no split {split}"
            raise ConfigError(f"{name} {problem}: it has {', '.join(map(str, splits))}; give one, or its folder.")
        folder = folder / split
    rows: list[dict[str, Any]] = []
    for entry in _entry(folder / STATE, "_data_files", name):
        path = folder / Path(str(entry["filename"])).name
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                rows += reader.read_all().to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{name}: {path.name} is missing or damaged: save the dataset again.") from error
    return RecordFrame.of_objects(name, rows, range(1, len(rows) + 1))


def _entry(path: Path, key: str, name: str) -> Sequence[Any]:
    """A list in a JSON file of the folder."""
    try:
        entries = json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{name}: {path.name} is missing or damaged: save the dataset again.") from error
    return list(entries)

"""A cache of the rows of many runs in one file, so that thousands of folders load in a second or two.

A run is taken from the cache only if the size, times of modification and change, and inode of all its files are the
same as when it was read, and if it was read at least two seconds after they were written, so that a second write within
one tick of the clock cannot go unnoticed.

The file is a parquet table followed by the SHA-256 of all its bytes (`nlhf.io.checksums.sealed`). The records of the
runs are part of the table's metadata: the checksum covers them too, and no second file can disagree with the first. A
file with a wrong checksum is never parsed: the runs are read again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from nlhf.config import ConfigError
from nlhf.io.checksums import sealed, unsealed
from nlhf.io.files import replacing
from nlhf.io.links import make_shared_folder

VERSION = 2  # of the layout
CACHE = Path(".analysis") / "rows.cache"
FEWEST = 50  # runs; smaller studies load fast without a cache
SETTLED = 2_000_000_000  # nanoseconds after a write from which a file's stamp is trusted

Read = Callable[[Path], tuple[pa.Table, dict[str, Any]]]


def cached_rows(
    root: Path, folders: Sequence[Path], files: Sequence[str], read: Read
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """All rows, and the records that their `run_number` refers to; from the cache if it is current.

    Args:
        root: of the study, with the cache.
        folders: of the runs.
        files: the names of the files of a run that decide its rows and record.
        read: returns the rows and the record of a run's folder; the record must be valid JSON.
    """
    cached, cached_records = _open(root / CACHE)
    tables: list[pa.Table] = []
    records: list[dict[str, Any]] = []
    reused: list[tuple[int, int]] = []
    for folder in folders:
        now = time.time_ns()
        stamp = [_stamp(folder / name) for name in files]
        name = folder.relative_to(root).as_posix()
        old = cached_records.get(name)
        if old is not None and old["stamp"] == stamp and _settled(stamp, old["read"]):
            reused.append((old["number"], len(records)))
            records.append(old | {"folder": str(folder)})
            continue
        table, record = read(folder)
        record |= {"place": name, "stamp": stamp, "read": now, "rows": len(table), "columns": table.column_names}
        tables.append(table.append_column("run_number", pa.array([len(records)] * len(table), pa.int64())))
        records.append(record)
    if reused and cached is not None:
        tables.insert(0, _renumbered(cached, dict(reused)))
    for number, record in enumerate(records):
        record["number"] = number
    columns = dict.fromkeys(name for record in records for name in record["columns"])
    table = pa.concat_tables(tables, promote_options="default").select([*columns, "run_number"])
    if len(folders) >= FEWEST and (len(reused) < len(folders) or len(reused) < len(cached_records)):
        _save(root / CACHE, table, records)
    rows = table.to_pandas(split_blocks=True)
    return rows.sort_values("run_number", kind="stable", ignore_index=True) if reused else rows, records


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _settled(stamp: Sequence[list[int] | None], read: int) -> bool:
    return all(entry is None or max(entry[1:3]) + SETTLED < read for entry in stamp)


def _renumbered(cached: pa.Table, numbers: dict[int, int]) -> pa.Table:
    """The rows of the reused runs, with their new numbers."""
    index = cached.column_names.index("run_number")
    new = cached.column(index).to_pandas().map(numbers)
    reused = new.notna()
    table = cached.filter(pa.array(reused))
    return table.set_column(index, "run_number", pa.array(new[reused].astype("int64")))


def _open(path: Path) -> tuple[pa.Table | None, dict[str, dict[str, Any]]]:
    """The cached rows and the records by folder; (None, {}) without a valid cache."""
    try:
        if (content := unsealed(path)) is None:
            return None, {}
        table = parquet.read_table(pa.BufferReader(pa.py_buffer(content)))
        metadata = json.loads((table.schema.metadata or {})[b"nlhf"])
        if metadata["version"] != VERSION:
            return None, {}
        return table, {record["place"]: record for record in metadata["records"]}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None, {}


def _save(path: Path, table: pa.Table, records: list[dict[str, Any]]) -> None:
    """Write the cache, unless the folder cannot be written."""
    metadata = json.dumps({"version": VERSION, "records": records}).encode()
    buffer = pa.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata({b"nlhf": metadata}), buffer)
    try:
        make_shared_folder(path.parent)
        with replacing(path, "wb") as stream:
            stream.write(sealed(memoryview(buffer.getvalue())))
    except (OSError, ConfigError):
        return

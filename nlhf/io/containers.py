"""Recognises the container of a table by its first bytes, and reads it: CSV, JSON, jsonl or parquet, also gzipped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from nlhf.config import ConfigError
from nlhf.io.compressed import GZIP
from nlhf.io.contents import PARQUET
from nlhf.io.frames import Frame, RecordFrame
from nlhf.io.inputs import InputFile
from nlhf.io.tables import cells_of, distinct_keys, stripped

HEAD = 64  # bytes by which a container is recognised
BOM = b"\xef\xbb\xbf"
# First bytes of files that hold no table, what they are, and the remedy
OTHERS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV"),
    (b"ARROW1", "an Arrow file", "save it as parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x89HDF", "an HDF5 file", "save the table as CSV"),
    (b"%PDF", "a PDF", "give the table itself"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it, or use gzip"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it, or use gzip"),
    (b"BZh", "compressed with bzip2", "decompress it, or use gzip"),
    (b"\x93NUMPY", "a NumPy array", "save a CSV with named columns"),
    (b"\x80\x04", "a Python pickle, which could run code", "save it as CSV"),
    (b"\x80\x05", "a Python pickle, which could run code", "save it as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file", "run git lfs pull"),
    (b"<!DOCTYPE", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)
_frames: WeakKeyDictionary[InputFile, Frame] = WeakKeyDictionary()


def container(file: InputFile) -> str:
    """`parquet`, `json`, `jsonl` or `csv`.

    Raises: ConfigError for a file that cannot be read, or whose first bytes are those of another kind of file.
    """
    head = _head(file)
    for start, kind, remedy in OTHERS:
        if head.startswith(start):
            raise ConfigError(f"{file.name} is {kind}, no table: {remedy}.")
    if head.startswith(PARQUET):
        return "parquet"
    first = head.removeprefix(BOM).lstrip()[:1]
    return {b"[": "json", b"{": "jsonl"}.get(first, "csv")


def head_text(file: InputFile) -> str:
    """The first characters of a file."""
    return _head(file).decode(errors="replace")


def first_keys(file: InputFile) -> set[str]:
    """The keys of the first line of a jsonl file; none if it is damaged."""
    try:
        return set(json.loads(file.lines()[0][1]))
    except (ValueError, TypeError, IndexError):
        return set()


def frame(file: InputFile) -> Frame:
    """The columns of a file, read once.

    Raises: ConfigError for a file that is not a table.
    """
    if file not in _frames:
        kind = container(file)
        if kind == "parquet":
            from nlhf.io.parquet import ParquetFrame

            _frames[file] = ParquetFrame(file, file.decompressed if file.is_read or _is_gzip(file) else None)
        else:
            _frames[file] = _csv(file) if kind == "csv" else _json(file, kind)
    return _frames[file]


def _head(file: InputFile) -> bytes:
    """The first bytes, after decompression; a large parquet file is not read for them."""
    if not file.is_read and not _is_gzip(file):
        start = _start(file)
        if start.startswith(PARQUET):
            return start
    return file.decompressed[:HEAD].removeprefix(BOM)


def _is_gzip(file: InputFile) -> bool:
    return _start(file).startswith(GZIP)


def _start(file: InputFile) -> bytes:
    try:
        with file.location.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return file.content[:HEAD]  # raises the sentence


def _csv(file: InputFile) -> Frame:
    """A CSV file whose first row names the columns. Cells keep their white space, which matters in texts."""
    header, rows = cells_of(file)
    columns = stripped(header, file.name)
    cells = list(zip(*(row for _, row in rows), strict=True)) or [()] * len(columns)
    return RecordFrame(file.name, dict(zip(columns, cells, strict=True)), [line for line, _ in rows])


def _json(file: InputFile, kind: str) -> Frame:
    """A list of objects, or an object in each line."""
    entries = _listed(file) if kind == "json" else _lines(file)
    lines, objects = [], []
    for line, entry in entries:
        if not isinstance(entry, dict):
            raise ConfigError(f"{file.name}: row {line} is {json.dumps(entry)[:40]}, no object: mend or remove it.")
        lines.append(line)
        objects.append(entry)
    return RecordFrame.of_objects(file.name, objects, lines)


def _listed(file: InputFile) -> Iterable[tuple[int, Any]]:
    try:
        return enumerate(json.loads(file.text(), object_pairs_hook=distinct_keys), start=1)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.name} is not JSON ({error}): mend it.") from error


def _lines(file: InputFile) -> Iterable[tuple[int, Any]]:
    for line, text in file.lines():
        try:
            yield line, json.loads(text, object_pairs_hook=distinct_keys)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{file.name}: row {line} is not JSON ({error}): write one object in each line, or a list [...]."
            ) from error

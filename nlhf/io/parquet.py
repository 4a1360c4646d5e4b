"""Parquet files: only the columns that are needed are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nlhf.config import ConfigError
from nlhf.io.frames import Frame, Labels, cell_text
from nlhf.io.inputs import InputFile
from nlhf.io.tables import check_unique, stripped


class ParquetFrame(Frame):
    """The columns of a parquet file, each read when it is first used."""

    def __init__(self, file: InputFile, content: bytes | None, names: Mapping[str, str] | None = None) -> None:
        self._file, self._content = file, content
        self.source = file.name
        file.check_unchanged()
        try:
            self._schema, self._texts, rows = _schema(self._opened(), file.name)
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{file.name} is a damaged parquet file: copy or download it again.") from error
        self.lines = range(1, rows + 1)
        self._names = dict(names or {name: name for name in self._schema})
        self.columns = tuple(self._names)
        self._read: dict[str, pa.ChunkedArray] = {}
        self._labels: dict[str, Labels] = {}

    def _opened(self) -> Any:
        return str(self._file.location) if self._content is None else pa.BufferReader(self._content)

    def prefetch(self, names: Iterable[str]) -> None:
        paths = [self._names[name] for name in names]
        if missing := [path for path in dict.fromkeys(paths) if path not in self._read]:
            texts = [path for path in missing if path in self._texts]
            try:
                file = pq.ParquetFile(self._opened(), read_dictionary=texts, memory_map=True)
                table = file.read(columns=missing)
            except (pa.ArrowException, OSError) as error:
                raise ConfigError(
                    f"{self.source} is a damaged parquet file: its column {missing[0]} cannot be read; copy or "
                    "download it again."
                ) from error
            self._file.check_unchanged()
            while any(pa.types.is_struct(field.type) for field in table.schema):
                table = table.flatten()
            self._read |= {path: table.column(path) for path in missing}

    def _column(self, name: str) -> pa.ChunkedArray:
        self.prefetch([name])
        return self._read[self._names[name]]

    def labels(self, name: str) -> Labels:
        if name not in self._labels:
            self._labels[name] = _labels(self._column(name), self.source)
        return self._labels[name]

    def values(self, name: str) -> Sequence[Any]:
        return list(self._column(name).to_pylist())

    def plain(self, name: str) -> bool:
        return not pa.types.is_nested(self._schema[self._names[name]])

    def renamed(self, names: Mapping[str, str]) -> ParquetFrame:
        frame = ParquetFrame(self._file, self._content, {new: self._names[old] for new, old in names.items()})
        frame._read = self._read
        return frame


def _schema(source: Any, name: str) -> tuple[dict[str, pa.DataType], set[str], int]:
    """The type of every column, the columns of texts, and the number of rows.

    Structs are read as one column for each entry.
    """
    file = pq.ParquetFile(source, memory_map=True)
    types: dict[str, pa.DataType] = {}

    def add(field: pa.Field, prefix: str) -> None:
        if pa.types.is_struct(field.type):
            for number in range(field.type.num_fields):
                add(field.type.field(number), f"{prefix}{field.name}.")
        else:
            types[prefix + field.name] = field.type

    check_unique(file.schema_arrow.names, "columns", name)
    for field in file.schema_arrow:
        add(field, "")
    texts = {field.name for field in file.schema_arrow if pa.types.is_string(field.type)}
    return types, texts, file.metadata.num_rows


def _labels(column: pa.ChunkedArray, source: str) -> Labels:
    """A column as texts, encoded by a dictionary."""
    if pa.types.is_nested(column.type):
        return Labels.of(map(cell_text, column.to_pylist()))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    dictionary = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
    codes = np.concatenate([_codes(chunk.indices, len(dictionary)) for chunk in column.chunks] or [np.array([], int)])

    def decode() -> list[str]:
        texts = [cell_text(value) for value in dictionary.to_pylist()]
        return [*stripped(texts, source), ""]  # the last one for missing cells

    return Labels(codes, decode)


def _codes(indices: pa.Array, missing: int) -> np.ndarray:
    """The numbers of texts; `missing` for a missing cell."""
    return np.asarray(pc.fill_null(indices, missing) if indices.null_count else indices)

"""The rows of one metrics.csv as an arrow table, without an incomplete last line."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from nlhf.analysis.errors import AnalysisError

TEXTS = ("run", "game", "algorithm")
COUNTS = ("seed", "iteration", "queries")
TYPES = {name: pa.string() for name in TEXTS} | {name: pa.int64() for name in COUNTS}


def read_rows(path: Path) -> pa.Table:
    """The rows of a file, or none if there is no file; columns other than texts and counts are float64.

    Raises: AnalysisError for a damaged file, or one that is not a metrics.csv.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return EMPTY
    except OSError as error:
        raise AnalysisError(f"{path} cannot be read ({error.strerror}): restore it, or remove its folder.") from error
    content = content[: content.rfind(b"\n") + 1]
    if not content:
        return EMPTY
    header = content.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split(",")
    if missing := [name for name in (*TYPES, "exploitability") if name not in header]:
        raise AnalysisError(f"{path} is not a metrics.csv of a run: it lacks the column {missing[0]}: remove it.")
    if twice := [name for name in header if header.count(name) > 1]:
        raise AnalysisError(f"{path} is not a metrics.csv of a run: it has the column {twice[0]} twice: remove it.")
    types = {name: TYPES.get(name, pa.float64()) for name in header}
    quoted = csv.ParseOptions(newlines_in_values=b'"' in content)  # slow, so only if needed
    try:
        table = csv.read_csv(io.BytesIO(content), None, quoted, csv.ConvertOptions(column_types=types))
    except (pa.ArrowException, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise AnalysisError(f"{path} cannot be read ({reason}): restore it, or remove its folder.") from error
    if empty := [name for name in COUNTS if table[name].null_count]:
        raise AnalysisError(f"{path} cannot be read (a row without {empty[0]}): restore it, or remove its folder.")
    return table


EMPTY = pa.table({name: pa.array([], kind) for name, kind in TYPES.items()})

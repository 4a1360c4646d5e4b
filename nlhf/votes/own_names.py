"""Gives columns of a file the names that its user states."""

from __future__ import annotations

from collections.abc import Mapping

from nlhf.config import ConfigError
from nlhf.io.frames import Frame
from nlhf.io.inputs import InputFile
from nlhf.io.tables import listed


def with_names(columns: Frame, names: Mapping[str, str], file: InputFile) -> Frame:
    """The columns with the names {tidy name: name in the file}.

    Raises: ConfigError for a column that the file lacks.
    """
    for new, old in names.items():
        if old not in columns.columns:
            raise ConfigError(
                f"columns={{{new}: {old}}}: {file} lacks the column {old}: it has {listed(columns.columns, 50)}."
            )
    renamed = {old for new, old in names.items() if new != "source"}  # a source keeps its meaning in the format too
    unchanged = {name: name for name in columns.columns if name not in (*renamed, *names)}
    return columns.renamed({**names, **unchanged})

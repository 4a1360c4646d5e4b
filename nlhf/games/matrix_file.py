"""A preference matrix from a file: npy and npz hold an array (n, n) or (X, n, n), csv a table with optional names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, PreferenceTable, check_preference, numbered
from nlhf.inputs import InputFile
from nlhf.tidy import check_unique, number, stripped


@dataclass(frozen=True)
class MatrixFile(GameFamily):
    """P(row > column) from a file.

    Args:
        path: .npy (the array), .npz (arrays `preference` and optionally `items`, `contexts`, as `game.npz` of a run,
            or a single array) or .csv (comma-separated numbers; a first row of item names is optional).
    """

    path: InputFile | None

    random = False

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE with a matrix in npy, npz or csv.")
        preference, items, contexts = _READERS.get(self.path.suffix, _refuse)(self.path)
        preference = check_preference(preference, f"game.path={self.path}")
        names = items or numbered("item", preference.shape[1])
        rows = contexts or numbered("context", preference.shape[0])
        if (len(rows), len(names)) != preference.shape[:2]:
            raise ConfigError(f"game.path={self.path}: {len(names)} item names and {len(rows)} context names do not "
                              f"fit a table of shape {preference.shape}: give one name each.")  # fmt: skip
        check_unique(names, "items", self.path.name)
        check_unique(rows, "contexts", self.path.name)
        return PreferenceTable(preference, names, rows)


Named = tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]


def _read_arrays(file: InputFile) -> Named:
    arrays = file.arrays()
    if arrays is None:
        raise ConfigError(f"game.path={file} is no file of numpy arrays: save it with numpy.savez or numpy.save.")
    if "preference" not in arrays and len(arrays) != 1:
        raise ConfigError(f"game.path={file} holds {', '.join(arrays) or 'nothing'}: name the matrix `preference`.")
    preference = arrays.get("preference", next(iter(arrays.values())))
    if preference.ndim == 4 and len(preference) == 1:  # the game.npz of a run with one instance
        preference = preference[0]
    items, contexts = (tuple(str(name) for name in arrays.get(key, ())) for key in ("items", "contexts"))
    return preference, items, contexts


def _read_csv(file: InputFile) -> Named:
    rows = file.rows()
    if not rows:
        raise ConfigError(f"game.path={file} is empty: give a square table of probabilities.")
    header = () if all(number(cell) is not None for cell in rows[0][1]) else stripped(rows[0][1], file.name)
    table = []
    for line, row in rows[1:] if header else rows:
        values = [number(cell) for cell in row]
        if None in values:
            raise ConfigError(f"game.path={file}: row {line} has {row[values.index(None)]!r}, not a number: mend it.")
        if len(row) != len(rows[0][1]):
            raise ConfigError(f"game.path={file}: row {line} has {len(row)} cells, not {len(rows[0][1])}: mend it.")
        table.append(values)
    return np.array(table, dtype=np.float64), header, ()


def _refuse(file: InputFile) -> Named:
    raise ConfigError(f"game.path={file} ends in {file.suffix or 'nothing'}: give a file .npy, .npz or .csv.")


_READERS = {".npy": _read_arrays, ".npz": _read_arrays, ".csv": _read_csv}

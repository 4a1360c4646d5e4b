"""A preference matrix from a file: npy and npz hold an array (n, n) or (X, n, n), a text holds a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily
from nlhf.games.listed import numbered
from nlhf.games.matrix_text import read_table
from nlhf.games.preference import COMPLEMENTARY, PreferenceTable, check_preference
from nlhf.io.inputs import InputFile
from nlhf.io.tables import check_unique

log = logging.getLogger(__name__)
LARGEST_DEVIATION = 0.01  # of P + P^T from 1 that `round` removes: probabilities with two digits


@dataclass(frozen=True)
class MatrixFile(GameFamily):
    """P(row > column) from a file.

    Args:
        path: .npy (the array), .npz (arrays `preference` and optionally `items`, `contexts`, as `game.npz` of a run,
            or a single array), or a table of numbers as a text (.csv, .tsv, .txt, .dat), with or without names.
        round: accept probabilities with two or three digits, whose P + P^T differs from 1 by at most 0.01: the mean of
            P and 1 - P^T replaces P.
    """

    path: InputFile | None
    round: bool = False

    random = False

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        if self.path is None:
            raise ConfigError("game.path is not set: give game.path=FILE with a matrix in npy, npz or csv.")
        preference, items, contexts = _READERS.get(self.path.suffix, _refuse)(self.path)
        preference = self._complementary(preference)
        names = items or numbered("item", preference.shape[1])
        rows = contexts or numbered("context", preference.shape[0])
        if (len(rows), len(names)) != preference.shape[:2]:
            raise ConfigError(
                f"game.path={self.path}: {len(names)} item names and {len(rows)} context names do not "
                f"fit a table of shape {preference.shape}: give one name each."
            )
        check_unique(names, "items", self.path.name)
        check_unique(rows, "contexts", self.path.name)
        return PreferenceTable(preference, names, rows)

    def _complementary(self, preference: np.ndarray) -> np.ndarray:
        """The probabilities (X, n, n), rounded if `round` is set.

        Raises: ConfigError for an array that is not a preference, or would need a larger change to become one.
        """
        source, deviation = f"game.path={self.path}", _deviation(preference)
        small = deviation <= LARGEST_DEVIATION + COMPLEMENTARY
        if not (small and self.round):
            remedy = "set game.round=true" if small else f"game.round=true rounds {LARGEST_DEVIATION} at most"
            return check_preference(preference, source, f"; here it differs by up to {deviation:.2g}: {remedy}")
        if deviation <= COMPLEMENTARY:
            return check_preference(preference, source)
        log.warning("%s: P + P^T differed from 1 by up to %.2g and was rounded", source, deviation)
        return check_preference((preference + 1 - preference.swapaxes(-1, -2)) / 2, source)


def _deviation(preference: np.ndarray) -> float:
    """The largest deviation of P + P^T from 1; infinite for arrays that are invalid for other reasons."""
    numeric = preference.dtype.kind in "fiu" and preference.ndim in (2, 3) and preference.size > 0
    if not numeric or preference.shape[-1] != preference.shape[-2]:
        return np.inf
    if not ((preference >= 0) & (preference <= 1)).all():  # nan is refused too
        return np.inf
    return float(np.abs(preference + preference.swapaxes(-1, -2) - 1).max())


Named = tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]


def _read_arrays(file: InputFile) -> Named:
    arrays = file.arrays()
    if arrays is None:
        raise ConfigError(f"game.path={file} is not a file of NumPy arrays: save it with numpy.savez or numpy.save.")
    if "preference" not in arrays and len(arrays) != 1:
        raise ConfigError(f"game.path={file} holds {', '.join(arrays) or 'nothing'}: name the matrix `preference`.")
    preference = arrays.get("preference", next(iter(arrays.values())))
    if preference.ndim == 4 and len(preference) == 1:  # the game.npz of a run with one instance
        preference = preference[0]
    items, contexts = (tuple(map(_as_text, arrays.get(key, ()))) for key in ("items", "contexts"))
    return preference, items, contexts


def _as_text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _read_text(file: InputFile) -> Named:
    return (*read_table(file), ())


def _refuse(file: InputFile) -> Named:
    endings = ", ".join(_READERS)
    raise ConfigError(f"game.path={file} ends in {file.suffix or 'nothing'}: give a file with one of {endings}.")


_READERS = {".npy": _read_arrays, ".npz": _read_arrays, **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), _read_text)}

"""The game and the policies of a run's folder, for figures; None if a file is missing or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nlhf.io.arrays import read_arrays
from nlhf.io.checksums import damaged
from nlhf.io.json_files import read_json
from nlhf.records import GAME, POLICY_COLUMNS, Row, read_rows

POLICIES = "policies.csv"


def game_of(run: Path) -> dict[str, np.ndarray] | None:
    """The content of game.npz: `items`, `contexts`, and tables over them."""
    game = read_arrays(run / GAME) if _is_sound(run, GAME) else None
    return game if game is not None and _is_game(game) else None


def policies_of(run: Path) -> list[Row] | None:
    """The rows of policies.csv."""
    if not (run / POLICIES).exists() or not _is_sound(run, POLICIES):
        return None
    try:
        rows = read_rows(run / POLICIES)
    except (OSError, ValueError):
        return None
    return rows if rows and tuple(rows[0]) == POLICY_COLUMNS and all(map(_is_number, rows)) else None


def _is_sound(run: Path, name: str) -> bool:
    """True unless the file differs from its checksum in the run's summary."""
    files = (read_json(run / "summary.json") or {}).get("files")
    return not (isinstance(files, dict) and name in files and damaged(run, {name: files[name]}))


def _is_game(game: dict[str, np.ndarray]) -> bool:
    """True if names and tables have matching shapes."""
    items, contexts = (game.get(name, np.empty((0, 0))) for name in ("items", "contexts"))
    if not (items.ndim == contexts.ndim == 1 and items.dtype.kind == contexts.dtype.kind == "U" and len(contexts)):
        return False
    of_policy, of_pairs = (len(contexts), len(items)), (len(contexts), len(items), len(items))
    ends = {
        "preference": of_pairs,
        "payoff": of_pairs,
        "votes": of_pairs,
        "log_reference": of_policy,
        "log_equilibrium": of_policy,
    }
    if "clusters" in game and not _has_clusters(game, len(items)):
        return False
    if "ranks" in game and not _has_rankings(game, len(items)):
        return False
    tables = (game[name] for name in ("preference", "payoff", "votes", "clusters") if _is_numeric(game.get(name)))
    finite = all(np.isfinite(table).all() for table in tables)
    return finite and all(_is_table(game[name], end) for name, end in ends.items() if name in game)


def _has_clusters(game: dict[str, np.ndarray], n: int) -> bool:
    """True if the votes by cluster, wins and numbers (2, C, n, n), and the name of a cluster are sound."""
    wins, name = game["clusters"], game.get("cluster", np.empty(0))
    return _is_numeric(wins) and wins.ndim == 4 and wins.shape[::2] == (2, n) and wins.shape[3] == n and name.ndim == 0


def _has_rankings(game: dict[str, np.ndarray], n: int) -> bool:
    """True if the ranks (G, T, n) and the weights (G, T) of the types are sound."""
    ranks, weights = game["ranks"], game.get("weights", np.empty(0))
    shapes = ranks.ndim == 3 and ranks.shape[2] == n and ranks.shape[:2] == weights.shape and len(ranks) > 0
    return shapes and ranks.dtype.kind == "i" and weights.dtype.kind == "f" and bool(np.isfinite(weights).all())


def _is_table(array: np.ndarray, end: Sequence[int]) -> bool:
    return _is_numeric(array) and array.shape[1:] == tuple(end) and len(array) > 0


def _is_numeric(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind in "fiu" and array.ndim > 0


def _is_number(row: Row) -> bool:
    try:
        return float(row["log_probability"]) < 1e-6
    except ValueError:
        return False

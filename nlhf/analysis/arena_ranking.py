"""The ranking of a study's arena, from the file that the arena leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.io.json_files import read_json, write_json

FILE = "ranking.json"
TITLES = ("", "contestant", "preferred to others", "exploitability", "equilibrium, redrawn")


@dataclass(frozen=True)
class ArenaRanking:
    """The ranking as texts.

    Args:
        headline: which policy to ship.
        setup: prompts, completions and judge.
        rows: cells under TITLES.
    """

    headline: str
    setup: str
    rows: list[list[str]]

    @property
    def sentence(self) -> str:
        """The headline with what it is about."""
        return f"In the arena ({self.setup.rstrip('.')}) {self.headline[:1].lower()}{self.headline[1:]}"


def write_ranking(folder: Path, ranking: ArenaRanking) -> None:
    """Write ranking.json into the folder of an arena."""
    write_json(folder / FILE, {"headline": ranking.headline, "setup": ranking.setup, "rows": ranking.rows})


def read_ranking(folder: Path) -> ArenaRanking | None:
    """The ranking of the arena in this folder; None without one, or if it is damaged."""
    content = read_json(folder / FILE) or {}
    headline, setup, rows = (content.get(name) for name in ("headline", "setup", "rows"))
    if not (isinstance(headline, str) and isinstance(setup, str) and isinstance(rows, list) and _is_table(rows)):
        return None
    return ArenaRanking(headline, setup, rows)


def _is_table(rows: list[Any]) -> bool:
    return all(
        isinstance(row, list) and len(row) == len(TITLES) and all(isinstance(cell, str) for cell in row) for row in rows
    )

"""Files of an arena, read with care: what is damaged is played again, never believed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json, read_json_lines
from nlhf.records import Row, read_rows

log = logging.getLogger("nlhf")
SUM = 1e-9  # by how much two preferences may miss a sum of 1


def stored_card(folder: Path) -> dict[str, Any] | None:
    """The content of arena.json, or None where there is none.

    Raises: ConfigError for a file that is no such card.
    """
    path = folder / "arena.json"
    card: Any = read_json(path)
    if card is None:
        return None
    rules, contestants = card.get("rules"), card.get("contestants")
    whole = isinstance(rules, dict) and isinstance(rules.get("prompts"), list) and isinstance(contestants, dict)
    if not whole or not all(isinstance(identity, str) for identity in contestants.values()):
        raise ConfigError(f"{path} is damaged: restore it from a copy, or give another folder.")
    account = card.get("account")
    return {**card, "account": account if isinstance(account, dict) else {}}


def stored_verdicts(path: Path, columns: tuple[str, ...], completions: int) -> list[Row]:
    """The rows of votes.csv whose games are whole: numbers in [0, 1] that sum to 1, for every completion once.

    Raises: ConfigError for a file with other columns, or that is no text.
    """
    if not path.exists():
        return []
    try:
        rows = read_rows(path)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read ({problem}): restore it, or give another folder.") from problem
    if rows and tuple(rows[0]) != columns:
        raise ConfigError(f"{path} has other columns than {', '.join(columns)}: restore it, or give another folder.")
    games: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        games.setdefault((row["prompt"], row["item_a"], row["item_b"]), []).append(row)
    wanted = [str(sample) for sample in range(completions)]
    whole = {
        game
        for game, of_game in games.items()
        if sorted(row["sample"] for row in of_game) == sorted(wanted) and all(map(_sound, of_game))
    }
    kept = [row for row in rows if (row["prompt"], row["item_a"], row["item_b"]) in whole]
    if len(kept) < len(rows):
        log.warning("%d games in %s are damaged and played again", len(games) - len(whole), path)
    return kept


def _sound(row: Row) -> bool:
    try:
        wins, losses = float(row["wins_a"]), float(row["wins_b"])
    except ValueError:
        return False
    return row["prompt"].isdecimal() and 0 <= wins <= 1 and 0 <= losses <= 1 and abs(wins + losses - 1) <= SUM


def stored_texts(path: Path, completions: int) -> dict[tuple[str, int], list[str]]:
    """The completions of a contestant for the prompt of a number, where all of them are there."""
    texts: dict[tuple[str, int], dict[int, str]] = {}
    for entry in read_json_lines(path):
        contestant, prompt, sample, text = (entry.get(key) for key in ("contestant", "prompt", "sample", "text"))
        if isinstance(contestant, str) and isinstance(text, str) and type(prompt) is int and type(sample) is int:
            texts.setdefault((contestant, prompt), {})[sample] = text
    wanted = range(completions)
    return {key: [known[k] for k in wanted] for key, known in texts.items() if known.keys() >= set(wanted)}

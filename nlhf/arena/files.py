"""The files of an arena; damaged games are dropped, so that they are played again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json, read_json_lines
from nlhf.records import Row, read_rows

if TYPE_CHECKING:
    from nlhf.arena.rules import Rules

ADDED = ("judge", "order")  # columns that files of earlier versions lack
log = logging.getLogger("nlhf")
ROUNDING = 1e-9  # by which the sum of two preferences may differ from 1


def stored_card(folder: Path) -> dict[str, Any] | None:
    """The content of arena.json, or None if there is none.

    Raises: ConfigError for a damaged file.
    """
    path = folder / "arena.json"
    card: Any = read_json(path)
    if card is None:
        return None
    rules, contestants = card.get("rules"), card.get("contestants")
    complete = isinstance(rules, dict) and isinstance(rules.get("prompts"), list) and isinstance(contestants, dict)
    if not complete or not all(isinstance(identity, str) for identity in contestants.values()):
        raise ConfigError(f"{path} is damaged: restore it from a copy, or give another folder.")
    account = card.get("account")
    return {**card, "account": account if isinstance(account, dict) else {}}


def stored_verdicts(path: Path, columns: tuple[str, ...], rules: Rules) -> list[Row]:
    """The rows of votes.csv of complete games: one per completion, with numbers in [0, 1] that sum to 1.

    Files of earlier versions lack the judge and the order, which are known.

    Raises: ConfigError for a file with other columns, or one that cannot be read.
    """
    if not path.exists():
        return []
    try:
        rows = read_rows(path)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read ({problem}): restore it, or give another folder.") from problem
    if rows and tuple(rows[0]) == tuple(name for name in columns if name not in ADDED):
        rows = [row | {"judge": rules.judge_name, "order": str(order)} for order, row in enumerate(rows)]
    if rows and tuple(rows[0]) != columns:
        raise ConfigError(f"{path} has other columns than {', '.join(columns)}: restore it, or give another folder.")
    games: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        games.setdefault((row["prompt"], row["item_a"], row["item_b"]), []).append(row)
    samples = sorted(str(sample) for sample in range(rules.completions))
    complete = {
        game
        for game, of_game in games.items()
        if sorted(row["sample"] for row in of_game) == samples and all(map(_is_sound, of_game))
    }
    sound = [row for row in rows if (row["prompt"], row["item_a"], row["item_b"]) in complete]
    if len(sound) < len(rows):
        log.warning("%d games in %s are damaged, and will be played again", len(games) - len(complete), path)
    return sound


def _is_sound(row: Row) -> bool:
    """True if the prompt is a number, and the two preferences are probabilities that sum to 1."""
    try:
        wins, losses = float(row["wins_a"]), float(row["wins_b"])
    except ValueError:
        return False
    numbers = row["prompt"].isdecimal() and row["order"].isdecimal()
    return numbers and 0 <= wins <= 1 and 0 <= losses <= 1 and abs(wins + losses - 1) <= ROUNDING


def stored_texts(path: Path, completions: int) -> dict[tuple[str, int], list[str]]:
    """The completions by contestant and prompt number, where none is missing."""
    texts: dict[tuple[str, int], dict[int, str]] = {}
    for entry in read_json_lines(path):
        contestant, prompt, sample, text = (entry.get(key) for key in ("contestant", "prompt", "sample", "text"))
        if isinstance(contestant, str) and isinstance(text, str) and type(prompt) is int and type(sample) is int:
            texts.setdefault((contestant, prompt), {})[sample] = text
    samples = range(completions)
    return {key: [stored[k] for k in samples] for key, stored in texts.items() if stored.keys() >= set(samples)}


def won_by_prompt(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """For each pair (a, b), by prompt, what a won in these verdicts."""
    won: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        sides = (row["item_a"], row["item_b"], row["wins_a"]), (row["item_b"], row["item_a"], row["wins_b"])
        for a, b, wins in sides:
            won.setdefault((a, b), {}).setdefault(int(row["prompt"]), []).append(float(wins))
    return won

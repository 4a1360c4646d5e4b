"""What runs of language models measured on every test prompt, from completions.jsonl and by_prompt.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nlhf.config import is_number
from nlhf.io.json_files import read_json_lines
from nlhf.records import BY_PROMPT, Row
from nlhf.records import read_rows as read_table
from nlhf.stats.equal_divergence import Curve

OF_RUN = ["setting", "method", "seed"]
OF_PROMPT = ["win_rate", "won", "length"]


def win_rates(rows: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The win rate against the reference on every test prompt, of the last row of every completed run.

    Columns: `setting, method, seed, prompt, win_rate`; of the first completion `won`, 1 for a win and 0.5 for a tie,
    and `length`, by how many characters it is longer than the reference's, nan without texts. Equal prompts are one
    prompt.
    """
    tables = []
    for name, path in _files(rows, runs, "completions.jsonl"):
        cells = [_cells(entry) for entry in read_json_lines(path) if _is_judged(entry)]
        table = pd.DataFrame(cells, columns=["prompt", *OF_PROMPT]).groupby("prompt", as_index=False).mean()
        tables.append(table.assign(**name))
    columns = [*OF_RUN, "prompt", *OF_PROMPT]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _files(rows: pd.DataFrame, runs: Sequence[Mapping[str, Any]], file: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Setting, method and seed of every completed run, and the path of its file, if it is not damaged."""
    names = rows.drop_duplicates("folder").set_index("folder")
    for run in runs:
        path = Path(run["folder"]) / file
        damaged = any(sentence.startswith(f"{path} ") for sentence in run["damage"])
        if run["status"] == "completed" and not damaged and run["folder"] in names.index:
            yield {column: names.at[run["folder"], column] for column in OF_RUN}, path


def _is_judged(entry: Mapping[str, Any]) -> bool:
    """True for a line of completions.jsonl with a prompt and the judge's answer."""
    return isinstance(entry.get("prompt"), str) and is_number(entry.get("preference"))


def _cells(entry: Mapping[str, Any]) -> tuple[str, float, float, float]:
    """Prompt, share of completions that win, whether the first one wins, and its length less the reference's.

    Older files have the preference of the first completion only.
    """
    won = float(np.sign(entry["preference"] - 0.5) / 2 + 0.5)
    texts = [entry.get(name) for name in ("policy", "reference")]
    lengths = [len(text) if isinstance(text, str) else float("nan") for text in texts]
    rate = float(entry["win_rate"]) if is_number(entry.get("win_rate")) else won
    return entry["prompt"], rate, won, lengths[0] - lengths[1]


def curves(rows: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Curve]:
    """Divergences and win rates of all rows on every test prompt, by setting, method and seed.

    Only completed runs whose rows are all there take part; runs of older versions have none.
    """
    measured = {}
    for name, path in _files(rows, runs, BY_PROMPT):
        try:
            table = read_table(path) if path.exists() else []
            curve = _curve(table)
        except (OSError, ValueError, KeyError):  # a file that was changed since
            continue
        if curve is not None:
            measured[str(name["setting"]), str(name["method"]), int(name["seed"])] = curve
    return measured


def _curve(table: Sequence[Row]) -> Curve | None:
    """Raises: ValueError or KeyError for a table with other content."""
    if not table or table[0]["iteration"] != "0":
        return None
    divergences, wins = (
        np.array([[float(number) for number in row[column].split()] for row in table])
        for column in ("divergences", "win_rates")
    )
    if divergences.ndim != 2 or divergences.shape != wins.shape or not np.isfinite([divergences, wins]).all():
        raise ValueError("rows of different lengths")
    return Curve(divergences, wins)

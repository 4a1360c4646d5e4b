"""The files of docs/guides/cases.md; `python -m tests.case_files FOLDER` writes them.

`judgments.jsonl` has the real votes of MT-bench in the columns of the original, with short texts in place of the
conversations. The annotations of AlpacaEval and the poll are simulated in the formats of their originals.
"""

from __future__ import annotations

import csv
import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

BASELINE, INSTRUCTIONS = "gpt4_turbo", 300
MODELS = {"aspen": 0.58, "birch": 0.55, "cedar": 0.35}  # mean preference to the baseline
DISHES = ("curry", "pasta", "salad", "stew", "tacos")
BALLOTS = {(1, 2, 3, 4): 62, (2, 3, 1): 55, (3, 1, 2, 5): 48, (4, 1, 2, 3): 12, (5, 4): 9}


def judgments() -> str:
    """MT-bench's judgments of people, an object in each line."""
    text = (files("nlhf") / "games/data/mtbench_human.csv").read_text(encoding="utf-8")
    lines = []
    for row in csv.DictReader(text.splitlines()):
        won = float(row["wins_a"])
        winner = "model_a" if won == 1 else "model_b" if won == 0 else "tie"
        entry = {"question_id": int(row["question_id"]), "model_a": row["item_a"], "model_b": row["item_b"],
                 "winner": winner, "judge": row["annotator"],
                 "conversation_a": talk(row, row["item_a"]), "conversation_b": talk(row, row["item_b"]),
                 "turn": int(row["turn"])}  # fmt: skip
        lines.append(json.dumps(entry) + "\n")
    return "".join(lines)


def talk(row: dict[str, str], model: str) -> list[dict[str, str]]:
    """A conversation of two turns."""
    question = [{"role": "user", "content": f"Question {row['question_id']}"}]
    return [*question, {"role": "assistant", "content": f"A reply of {model}"}] * 2


def annotations() -> str:
    """Weighted preferences of one annotator between a baseline and three models, as AlpacaEval 2 writes them."""
    rng, entries = np.random.default_rng(0), []
    for model, mean in MODELS.items():
        shares = rng.beta(0.8 * mean, 0.8 * (1 - mean), INSTRUCTIONS)
        entries += [
            {"instruction": f"Instruction {number}", "output_1": "...", "generator_1": BASELINE, "output_2": "...",
             "generator_2": model, "dataset": "helpful_base", "annotator": "weighted_alpaca_eval_gpt4_turbo",
             "preference": 1 + round(float(share), 6)} for number, share in enumerate(shares)
        ]  # fmt: skip
    return json.dumps(entries, indent=1)


def poll() -> str:
    """Incomplete rankings of five dishes."""
    voters = sum(BALLOTS.values())
    header = ["FILE NAME: 00000-00000003.soi", "TITLE: Lunch", "DATA TYPE: soi", f"NUMBER ALTERNATIVES: {len(DISHES)}",
              f"NUMBER VOTERS: {voters}", f"NUMBER UNIQUE ORDERS: {len(BALLOTS)}"]  # fmt: skip
    header += [f"ALTERNATIVE NAME {number}: {dish}" for number, dish in enumerate(DISHES, 1)]
    lines = [f"{count}: {','.join(map(str, order))}" for order, count in BALLOTS.items()]
    return "\n".join([f"# {line}" for line in header] + lines) + "\n"


def write(folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("judgments.jsonl", judgments()), ("annotations.json", annotations()), ("lunch.soi", poll())):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

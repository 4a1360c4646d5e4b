"""Synthetic votes in every format that nlhf reads; `python -m tests.votes_files FOLDER` writes a file of each."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ITEMS = ("amber", "birch", "cedar", "delta")
OUTCOMES = ("a", "b", "tie", "both_bad")
CONTAINERS = ("csv", "tsv", "semicolons", "json", "jsonl", "parquet")


@dataclass(frozen=True)
class Vote:
    """One vote: the items, its outcome, the number of its question, and its voter."""

    a: str
    b: str
    outcome: str
    question: int
    voter: str

    @property
    def prompt(self) -> str:
        return f'Question {self.question}; is it, "quoted"?\nAnswer.'

    def reply(self, item: str) -> str:
        return f"{item} answers {self.question}, at length"


def drawn(number: int = 60, seed: int = 0) -> list[Vote]:
    """Votes with all outcomes."""
    rng = np.random.default_rng(seed)
    votes = []
    for k in range(number):
        a, b = rng.choice(len(ITEMS), 2, replace=False)
        outcome = OUTCOMES[k] if k < len(OUTCOMES) else str(rng.choice(OUTCOMES, p=[0.4, 0.4, 0.15, 0.05]))
        votes.append(Vote(ITEMS[a], ITEMS[b], outcome, int(rng.integers(12)), f"voter{rng.integers(5)}"))
    return votes


def talk(vote: Vote, item: str, parts: bool = False) -> list[dict[str, Any]]:
    texts = (("user", vote.prompt), ("assistant", vote.reply(item)))
    content = (lambda text: [{"type": "text", "text": text, "image": None, "mimeType": None}]) if parts else str
    return [{"role": role, "content": content(text)} for role, text in texts]


def arena_33k(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}
    return {"question_id": f"q{vote.question}", "model_a": vote.a, "model_b": vote.b, "winner": labels[vote.outcome],
            "judge": vote.voter, "conversation_a": talk(vote, vote.a), "conversation_b": talk(vote, vote.b), "turn": 1,
            "anony": True, "language": "English", "tstamp": 1.68e9 + row,
            "openai_moderation": {"flagged": False}, "toxic_chat_tag": {"score": 0.1}}  # fmt: skip


def arena_140k(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "both_bad"}
    return {"id": f"id{row}", "model_a": vote.a, "model_b": vote.b, "winner": labels[vote.outcome],
            "evaluation_session_id": f"s{row // 3}", "evaluation_order": row % 3 + 1,
            "conversation_a": talk(vote, vote.a, True), "conversation_b": talk(vote, vote.b, True),
            "full_conversation": [], "conv_metadata": {"sum_assistant_a_tokens": 7, "turns": 1},
            "category_tag": {"math": row % 2 == 0}, "is_code": False, "language": "en",
            "timestamp": f"2025-06-01T00:00:{row % 60:02d}"}  # fmt: skip


def arena_55k(vote: Vote, row: int) -> dict[str, Any]:
    flags = {"winner_model_a": vote.outcome == "a", "winner_model_b": vote.outcome == "b",
             "winner_tie": vote.outcome in ("tie", "both_bad")}  # fmt: skip
    turns = {"prompt": vote.prompt, "response_a": vote.reply(vote.a), "response_b": vote.reply(vote.b)}
    row_of = {"id": row, "model_a": vote.a, "model_b": vote.b}
    row_of |= {name: json.dumps([text]) for name, text in turns.items()}
    return row_of | {name: int(flag) for name, flag in flags.items()}


def mtbench(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (inconsistent)"}
    return {"question_id": vote.question, "model_a": vote.a, "model_b": vote.b, "winner": labels[vote.outcome],
            "judge": vote.voter, "conversation_a": talk(vote, vote.a), "conversation_b": talk(vote, vote.b),
            "turn": 1}  # fmt: skip


def alpaca_eval(vote: Vote, row: int) -> dict[str, Any]:
    preference = {"a": 1.0, "b": 2.0, "tie": 1.5, "both_bad": 0.0}
    return {"instruction": vote.prompt, "output_1": vote.reply(vote.a), "generator_1": vote.a, "dataset": "helpful",
            "output_2": vote.reply(vote.b), "generator_2": vote.b, "annotator": vote.voter,
            "preference": preference[vote.outcome], "raw_completion": "m", "price_per_example": 0.01,
            "time_per_example": 0.5}  # fmt: skip


def evalica(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": "left", "b": "right", "tie": "tie", "both_bad": "tie"}
    return {"left": vote.a, "right": vote.b, "winner": labels[vote.outcome]}


def llmfao(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": "left", "b": "right", "tie": "tie", "both_bad": "tie"}
    return {"id": row, "prompt": vote.question, "model_x": vote.a, "model_y": vote.b, "winner": labels[vote.outcome],
            "worker": vote.voter}  # fmt: skip


def winners(vote: Vote, row: int) -> dict[str, Any]:
    labels = {"a": vote.a, "b": vote.b, "tie": "tie", "both_bad": "both_bad"}
    return {"item_a": vote.a, "item_b": vote.b, "winner": labels[vote.outcome], "voter": vote.voter, "time": row}


def tidy(vote: Vote, row: int) -> dict[str, Any]:
    counts = {"a": (1, 0), "b": (0, 1), "tie": (0.5, 0.5), "both_bad": (0.5, 0.5)}
    wins_a, wins_b = counts[vote.outcome]
    return {"item_a": vote.a, "item_b": vote.b, "wins_a": wins_a, "wins_b": wins_b, "voter": vote.voter}


def texts(vote: Vote, row: int) -> dict[str, Any]:
    return {"prompt": vote.prompt, "a": vote.reply(vote.a), "b": vote.reply(vote.b), "votes": counts(vote.outcome)}


def counts(outcome: str) -> list[float]:
    return [float(outcome == "a"), float(outcome == "b"), float(outcome in ("tie", "both_bad"))]


def chosen(vote: Vote, row: int) -> dict[str, Any]:
    scores = {"a": (9, 2), "b": (2, 9), "tie": (5, 5), "both_bad": (5, 5)}[vote.outcome]
    first, second = (vote.b, vote.a) if vote.outcome == "b" else (vote.a, vote.b)
    return {"prompt": vote.prompt, "chosen": vote.reply(first), "rejected": vote.reply(second),
            "score_chosen": max(scores), "score_rejected": min(scores)}  # fmt: skip


def ultrafeedback(vote: Vote, row: int) -> dict[str, Any]:
    row_of = chosen(vote, row)
    return row_of | {name: [{"role": "user", "content": vote.prompt}, {"role": "assistant", "content": row_of[name]}]
                     for name in ("chosen", "rejected")}  # fmt: skip


def hh_rlhf(vote: Vote, row: int) -> dict[str, Any]:
    row_of = chosen(vote, row)
    return {name: f"\n\nHuman: {vote.prompt}\n\nAssistant: {row_of[name]}" for name in ("chosen", "rejected")}


def helpsteer(vote: Vote, row: int) -> dict[str, Any]:
    score = {"a": -2, "b": 2, "tie": 0, "both_bad": 0}[vote.outcome]
    return {"domain": "code", "language": "english", "context": [{"role": "user", "content": vote.prompt}],
            "response1": vote.reply(vote.a), "response2": vote.reply(vote.b), "overall_preference": score,
            "individual_preference": [{"score": score, "reasoning": "r"}]}  # fmt: skip


def oasst(votes: Sequence[Vote]) -> list[dict[str, Any]]:
    """A prompt and two ranked replies for each vote."""
    rows = []
    for number, vote in enumerate(votes):
        ranks = {"a": (0, 1), "b": (1, 0), "tie": (0, 0), "both_bad": (0, 0)}[vote.outcome]
        root = {"message_id": f"p{number}", "parent_id": None, "text": vote.prompt, "role": "prompter", "lang": "en",
                "rank": None}  # fmt: skip
        replies = [{"message_id": f"p{number}{item}", "parent_id": f"p{number}", "text": vote.reply(item),
                    "role": "assistant", "lang": "en", "rank": rank}
                   for item, rank in zip((vote.a, vote.b), ranks, strict=True)]  # fmt: skip
        rows += [root, *replies]
    return rows


WITH_ITEMS: dict[str, Callable[[Vote, int], dict[str, Any]]] = {
    "arena_33k": arena_33k,
    "arena_140k": arena_140k,
    "arena_55k": arena_55k,
    "mtbench": mtbench,
    "alpaca_eval": alpaca_eval,
    "evalica": evalica,
    "llmfao": llmfao,
    "winners": winners,
    "tidy": tidy,
}
WITH_TEXTS: dict[str, Callable[[Vote, int], dict[str, Any]]] = {
    "texts": texts,
    "chosen": chosen,
    "ultrafeedback": ultrafeedback,
    "hh_rlhf": hh_rlhf,
    "helpsteer": helpsteer,
    **{name: WITH_ITEMS[name] for name in ("arena_33k", "arena_140k", "arena_55k", "mtbench", "alpaca_eval")},
}


def rows(name: str, votes: Sequence[Vote]) -> list[dict[str, Any]]:
    """The rows of a format."""
    if name == "oasst":
        return oasst(votes)
    if name == "ratings":
        return [{"model": item, "elo": 1000 + 100 * number} for number, item in enumerate(ITEMS)]
    maker = {**WITH_ITEMS, **WITH_TEXTS}[name]
    return [maker(vote, row) for row, vote in enumerate(votes)]


def write(path: Path, table: Sequence[dict[str, Any]], container: str, zipped: bool = False) -> Path:
    """A table in a container."""
    if container == "parquet":
        stream = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(table)), stream)
        content = stream.getvalue().to_pybytes()
    elif container == "json":
        content = json.dumps(list(table)).encode()
    elif container == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in table).encode()
    else:
        content = _csv(table, {"csv": ",", "tsv": "\t", "semicolons": ";"}[container])
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


def write_documented(folder: Path) -> None:
    """Write the files that the commands of docs/formats.md read."""
    votes = drawn()
    for name, file in (
        ("evalica", "choices.csv"),
        ("mtbench", "judgments.jsonl"),
        ("arena_140k", "battles.parquet"),
        ("ratings", "ratings.csv"),
    ):
        write(folder / file, rows(name, votes), file.partition(".")[2])
    battles = rows("arena_33k", votes)
    for number, row in enumerate(battles):  # texts of different lengths
        *before, last = row["conversation_a"]
        row["conversation_a"] = [*before, last | {"content": last["content"] + " and so on" * (number % 3)}]
    write(folder / "battles.jsonl", battles, "jsonl")


def _csv(table: Sequence[dict[str, Any]], separator: str) -> bytes:
    """A CSV with a byte order mark; lists and objects are JSON in a cell."""
    from io import StringIO

    stream = StringIO()
    writer = csv.DictWriter(stream, list(table[0]), delimiter=separator)
    writer.writeheader()
    for row in table:
        writer.writerow({key: json.dumps(cell) if isinstance(cell, list | dict) else cell for key, cell in row.items()})
    return b"\xef\xbb\xbf" + stream.getvalue().encode()


PREFLIB = """# FILE NAME: 00000-00000001.toi
# TITLE: A poll
# DATA TYPE: toi
# NUMBER ALTERNATIVES: 4
# NUMBER VOTERS: 7
# NUMBER UNIQUE ORDERS: 4
# ALTERNATIVE NAME 1: amber
# ALTERNATIVE NAME 2: birch
# ALTERNATIVE NAME 3: cedar
# ALTERNATIVE NAME 4: delta
3: 1,2,3,4
2: {2,3},1
1: 4,{1,2}
1: 3
"""
OLD_PREFLIB = "4\n1,amber\n2,birch\n3,cedar\n4,delta\n7,7,4\n3,1,2,3,4\n2,{2,3},1\n1,4,{1,2}\n1,3\n"
MATCHING = """# FILE NAME: 00000-00000002.wmd
# TITLE: Weights
# DATA TYPE: wmd
# NUMBER ALTERNATIVES: 2
# NUMBER EDGES: 2
# ALTERNATIVE NAME 1: amber
# ALTERNATIVE NAME 2: birch
1, 2, 5.0
2, 1, 3.0
"""


def main(folder: Path, number: int = 60) -> None:
    """Write a file of each format."""
    folder.mkdir(parents=True, exist_ok=True)
    votes = drawn(number)
    for name in (*WITH_ITEMS, *WITH_TEXTS, "oasst", "ratings"):
        for container in CONTAINERS:
            write(folder / f"{name}.{container}", rows(name, votes), container)
    for name, text in (("poll.toi", PREFLIB), ("old.toi", OLD_PREFLIB), ("weights.wmd", MATCHING)):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))

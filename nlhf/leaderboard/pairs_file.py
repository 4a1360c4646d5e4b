"""The file of pairs to vote on: a row for each vote, with empty cells for the answer."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.io.inputs import InputFile
from nlhf.io.tables import named_rows, number, separator
from nlhf.leaderboard.counted import CountedVotes
from nlhf.leaderboard.history import answer
from nlhf.votes.file import COLUMNS, TIES, Vote
from nlhf.votes.formats.table import TIDY
from nlhf.votes.read import Selection


def write_pairs(
    out: Path, counted: CountedVotes, chosen: Selection, numbers: np.ndarray, rng: np.random.Generator
) -> None:
    """Write a row for each vote, in random order, with a random item first.

    The columns are those of a CSV of tidy votes, so that its filled rows can be appended to that file. Columns of
    contexts and of filters with one value are filled.

    Args:
        numbers: of votes on each pair, (X, n, n), above the diagonal.
    """
    columns, cells_separator = columns_of_pairs(counted, chosen)
    fixed = {
        name: str(values[0]) for name, values in chosen.where.items() if isinstance(values, list) and len(values) == 1
    }
    fixed |= {TIES: "0"} if TIES in columns else {}
    rows = []
    for x, i, j in np.argwhere(numbers).tolist():
        cells = fixed | dict(zip(chosen.context, counted.contexts[x], strict=True))
        rows += [(cells, counted.items[i], counted.items[j])] * int(numbers[x, i, j])
    with replacing(out) as stream:
        writer = csv.DictWriter(
            stream, columns, restval="", extrasaction="ignore", delimiter=cells_separator, lineterminator="\n"
        )
        writer.writeheader()
        for k in rng.permutation(len(rows)):
            cells, *pair = rows[k]
            if rng.random() < 0.5:
                pair.reverse()
            writer.writerow(cells | {"item_a": pair[0], "item_b": pair[1]})


def columns_of_pairs(counted: CountedVotes, chosen: Selection) -> tuple[list[str], str]:
    """The columns of the file, and what separates its cells."""
    source = counted.source
    if source.format is TIDY and source.frame is None:
        return list(source.columns), separator(source.file)
    return [*COLUMNS, *chosen.context], ","


def check_answers(out: Path, added: Sequence[Vote]) -> None:
    """Refuse to replace a file of pairs with answers that are not among the votes that were added since.

    Raises: ConfigError.
    """
    if not out.exists():
        return
    table = named_rows(InputFile(str(out), "--out"))
    if not set(COLUMNS) <= set(table.columns):
        raise ConfigError(f"--out {out} is not a file of pairs: give another name.")
    answers: Counter[tuple[str, str, float, float]] = Counter()
    for line, cells in table.records:
        if not (cells["wins_a"] or cells["wins_b"]):
            continue
        wins_a, wins_b, ties = (number(cells.get(name) or "0") for name in ("wins_a", "wins_b", TIES))
        if wins_a is None or wins_b is None or ties is None:
            raise ConfigError(f"--out {out}: row {line} has an answer that is not a number: mend or remove it.")
        vote = Vote(cells, cells["item_a"], cells["item_b"], wins_a + ties / 2, wins_b + ties / 2, ties)
        answers[answer(vote)] += 1
    if missing := (answers - Counter(answer(vote) for vote in added)).total():
        raise ConfigError(
            f"--out {out} has {missing:,} answers that are not in the file of votes: append its filled rows there "
            "first, or remove it."
        )

"""How long votes take to read: `python -m benchmarks.votes [ROWS]`.

A parquet file of synthetic arena votes (140k format, with conversations) is read as game=votes reads it, in turn with
pyarrow's own read of the same columns. The ratio of the medians should be at most 3.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nlhf.io.inputs import InputFile
from nlhf.votes.read import Selection, read_votes

ROWS, MODELS, REPEATS = 1_000_000, 60, 7
COLUMNS = ["model_a", "model_b", "winner"]


def write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"model-{number}" for number in range(MODELS)])
    first = rng.integers(MODELS, size=rows)
    second = (first + rng.integers(1, MODELS, size=rows)) % MODELS
    labels = np.array(["model_a", "model_b", "tie", "both_bad"])
    text = [{"role": "user", "content": "a question of some length " * 4}]
    pq.write_table(
        pa.table(
            {
                "id": [f"{number:032x}" for number in range(rows)],
                "model_a": names[first],
                "model_b": names[second],
                "winner": labels[rng.choice(4, rows, p=[0.36, 0.36, 0.14, 0.14])],
                "evaluation_session_id": [f"{number // 3:032x}" for number in range(rows)],
                "evaluation_order": rng.integers(1, 9, rows),
                "conversation_a": pa.DictionaryArray.from_arrays(
                    np.zeros(rows, np.int32), pa.array([text])
                ).dictionary_decode(),
                "language": np.array(["en", "de", "zh", "pl"])[rng.integers(4, size=rows)],
                "timestamp": rng.random(rows) * 1e7 + 1.7e9,
            }
        ),
        path,
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(path: Path, context: list[str]) -> tuple[float, float]:
    """Median seconds of pyarrow and of nlhf."""
    names = [*COLUMNS, *context]
    times = [
        (
            seconds(lambda: pq.read_table(path, columns=names)),
            seconds(lambda: read_votes(InputFile(str(path)), Selection(context=context))),
        )
        for _ in range(REPEATS)
    ]
    return median(own for own, _ in times[1:]), median(ours for _, ours in times[1:])


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "arena.parquet")
        write(path, rows)
        print(f"{rows:,} votes, {path.stat().st_size / 1e6:.0f} MB")
        for context in ([], ["language"], ["language", "evaluation_order"]):
            own, ours = compared(path, context)
            names = ", ".join(context) or "pooled"
            print(f"{names:32} pyarrow {own * 1e3:6.0f} ms, nlhf {ours * 1e3:6.0f} ms, ratio {ours / own:.2f}")


if __name__ == "__main__":
    main()

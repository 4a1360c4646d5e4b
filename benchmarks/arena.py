"""How long an arena takes whose completions and verdicts are all on the disk: 10 contestants on 100 prompts.

Measured, in fresh processes: `nlhf arena` on ten files of completions of random words under a panel, once to
play all 4,500 games, then repeatedly when there is nothing to play: 1000 bootstrap redraws, equilibria, page. Votes and
completions must stay what they were, to the byte.

Run from the checkout (extra lm): python -m benchmarks.arena [--repetitions 5]. The last line gives the median of the
repeated command over `import torch` in the same round, its seconds and their limit; exit code 1 if it is exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.startup import seconds

CONTESTANTS, PROMPTS, LIMIT = 10, 100, 10.0
WORDS = ["bread", "sea", "moon", "good", "tea", "winter", "old", "river", "kind", "bird"]


def main(repetitions: int) -> int:
    """Measure, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        files = [write(Path(place) / f"model{number}.jsonl", number) for number in range(CONTESTANTS)]
        arena = Path(place) / "arena"
        command = [
            "-m",
            "nlhf",
            "arena",
            *files,
            "judge=panel",
            "judge.criteria=[sentiment,diversity,length]",
            f"out={arena}",
        ]
        print(f"first, playing all games: {seconds(command):.2f} s")
        kept = {name: (arena / name).read_bytes() for name in ("votes.csv", "completions.jsonl")}
        games = kept["votes.csv"].count(b"\n") - 1
        taken = np.array([(seconds(command), seconds(["-c", "import torch"])) for _ in range(repetitions)])
        same = all((arena / name).read_bytes() == content for name, content in kept.items())
    median = np.median(taken, axis=0)
    print(f"{games} games kept{'' if same else ', but they have CHANGED'}; import torch: {median[1]:.2f} s")
    print(f"nothing to play: {median[0] / median[1]:.1f} times import torch, {median[0]:.2f} s of at most {LIMIT:g}")
    return int(median[0] > LIMIT or not same or games != PROMPTS * CONTESTANTS * (CONTESTANTS - 1) // 2)


def write(path: Path, number: int) -> str:
    """Completions of a contestant, of more words the larger its number; returns the path."""
    rng = np.random.default_rng(number)
    with path.open("w", encoding="utf-8") as stream:
        for prompt in range(PROMPTS):
            text = " ".join(rng.choice(WORDS, rng.integers(5, 12 + 4 * number)))
            stream.write(json.dumps({"prompt": f"Write about number {prompt}.", "completion": text}) + "\n")
    return str(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of the command when there is nothing to play")
    sys.exit(main(parser.parse_args().repetitions))

"""How well judges that are learned from human votes agree with votes on prompts that were held out.

Measured: `general_preference`, `bradley_terry` and `pairwise_model` with the defaults of conf/train_judge.yaml, each
graded by folds over prompts, as the voters of a pair's source and as nobody in particular; their accuracy over "longer
wins" on every source, calibration error, and the largest |P(a > b) + P(b > a) - 1| over a thousand pairs.

Run from the checkout (extra lm): python -m benchmarks.judges --data VOTES, a jsonl file or a folder
(nlhf/judges/votes_file.py). The last line counts the sources on which the 95% interval of the best judge's lead over
"longer wins" lies above 0; exit code 1 if it does on fewer than three, a calibration error is 0.05 or more on all
votes, or a judge is not antisymmetric to 1e-7.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

import numpy as np

from nlhf.cli.judge_train import train
from nlhf.judges.learned import LearnedJudge, LearnedModel
from nlhf.judges.votes_file import read_text_votes

KINDS = ("general_preference", "bradley_terry", "pairwise_model")
LEAST, CALIBRATION, ANTISYMMETRY = 3, 0.05, 1e-7


def main(data: str) -> int:
    """Measure, print, and return the exit code."""
    ahead: dict[str, list[str]] = {}
    errors, gaps = [], []
    with tempfile.TemporaryDirectory() as place:
        for kind in KINDS:
            folder = train([f"data={data}", f"judge={kind}", f"out={place}/{kind}"])
            grades = json.loads((folder / "judge.json").read_text(encoding="utf-8"))["grades"]
            ahead[kind] = [row["source"] for row in grades
                           if row["source"] != "all" and row["over_longer"][kind]["low"] > 0]  # fmt: skip
            errors.append(max(error["value"] for method, error in grades[-1]["calibration_error"].items()
                              if method.startswith(kind)))  # fmt: skip
            gaps.append(asymmetry(LearnedJudge(LearnedModel(str(folder)), None, 32), data))
    for kind, error, gap in zip(KINDS, errors, gaps, strict=True):
        print(f"{kind}: ahead of longer wins on {', '.join(ahead[kind]) or 'no source'}; calibration error {error:.3f} "
              f"(less than {CALIBRATION}); asymmetry {gap:.1e} (at most {ANTISYMMETRY:g})")  # fmt: skip
    best = max(map(len, ahead.values()))
    print(f"sources on which a judge is ahead of longer wins: {best}, at least {LEAST}")
    return int(best < LEAST or max(errors) >= CALIBRATION or max(gaps) > ANTISYMMETRY)


def asymmetry(judge: LearnedJudge, data: str) -> float:
    """max |P(a > b) + P(b > a) - 1| over a thousand pairs."""
    pairs = read_text_votes(data).texts()[:1000]
    back = [(prompt, second, first) for prompt, first, second in pairs]
    return float(np.abs(judge.preference(pairs) + judge.preference(back) - 1).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="file or folder of votes over texts")
    sys.exit(main(parser.parse_args().data))

"""`python -m nlhf.analysis runs/STUDY [--out DIR]`: draws convergence against queries."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nlhf.analysis.figures import convergence, save
from nlhf.analysis.load import NothingToAnalyseError, load


def main() -> int:
    """Draw, and say where; exit code 2 where there is nothing to draw."""
    parser = argparse.ArgumentParser(prog="python -m nlhf.analysis", description="Figures of a study's runs.")
    parser.add_argument("folder", type=Path, help="runs/STUDY, or a run's folder")
    parser.add_argument("--out", type=Path, help="where figures go (default: FOLDER/figures)")
    arguments = parser.parse_args()
    try:
        data = load(arguments.folder)
    except NothingToAnalyseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs = data.drop_duplicates("folder")
    print(", ".join(f"{count} {status}" for status, count in runs["status"].value_counts().items()))
    for path in save(convergence(data), arguments.out or arguments.folder / "figures", "convergence"):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

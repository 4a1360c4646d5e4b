"""`nlhf diff RUN_A RUN_B`: what differs between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlhf.analysis.diff import diff, shown
from nlhf.cli.parser import Parser, in_sentences
from nlhf.terminal import say


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser(
        "nlhf diff",
        description="Show what differs between two runs: config, versions, results.",
        example="nlhf diff runs/first/RUN_A runs/first/RUN_B",
    )
    parser.add_argument("first", type=Path, metavar="RUN_A", help="runs/STUDY/RUN")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="runs/STUDY/RUN")
    options = parser.parse_args(arguments)
    configs, versions, rows = diff(options.first, options.second)
    for line in (*shown(configs, "config"), *shown(versions, "made with"), rows):
        say(line)
    return 0

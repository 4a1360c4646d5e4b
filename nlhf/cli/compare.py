"""`nlhf compare STUDY`: a ranked table, figures and report.html of a study."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nlhf.analysis.criterion import COSTS, METRICS, Criterion
from nlhf.cli.parser import Parser, in_sentences
from nlhf.terminal import console

if TYPE_CHECKING:
    from nlhf.analysis.results import Results


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    by = tuple(filter(None, options.by.split(",")))
    criterion = Criterion(options.metric, options.target, options.x, by, options.horizon)
    from nlhf.analysis import conclusions, ranking_table
    from nlhf.analysis.results import analyse

    results = analyse(options.folder, criterion)
    written = _exports(results, options)
    out: Path = options.out or options.folder
    out.mkdir(parents=True, exist_ok=True)
    output = console(ranking_table.WIDTH)
    states = Counter(run["status"] for run in results.study.runs)
    output.print(", ".join(f"{count} {status}" for status, count in states.items()))
    ranking_table.show(results, output)
    output.print()
    first, *further = [*results.text_sentences, conclusions.headline(results)]
    output.print(first, style="bold")
    for sentence in further:
        output.print(sentence)
    if results.judge:
        output.print(results.judge)
    for caution in results.cautions:
        output.print(f"- {caution}")
    for line in written:
        output.print(line, soft_wrap=True)
    if not options.no_report:
        from nlhf.analysis.report import write

        output.print(f"{write(results, out)}", soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "nlhf compare",
        "nlhf compare runs/first --metric exploitability --target 1e-4",
        description="Which algorithm wins, by how much, and is it luck: a table, figures and report.html of a study.",
    )
    parser.add_argument("folder", type=Path, metavar="STUDY", help="runs/STUDY, or any folder of runs")
    parser.add_argument("--out", type=Path, help="where report.html and figures/ go (default: the folder)")
    parser.add_argument("--x", default="queries", metavar="COST", help=f"{', '.join(COSTS)} (default: queries)")
    parser.add_argument("--metric", default="exploitability", help=f"{', '.join(METRICS)} (default: exploitability)")
    parser.add_argument("--target", type=float, default=1e-6, help="value of the metric to reach (default: 1e-6)")
    parser.add_argument(
        "--horizon",
        type=float,
        metavar="COST",
        help="cost by which the target must be reached to count (default: the smallest budget of all methods)",
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="COLUMNS",
        help="compare each value of these columns separately, as game,beta (default: all columns that vary, so that "
        "only seeds are pooled)",
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="write all rows to FILE.csv or FILE.parquet")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="write event files (extra tensorboard)")
    parser.add_argument("--no-report", action="store_true", help="print the table only: no figures, no report.html")
    return parser


def _exports(results: Results, options: argparse.Namespace) -> list[str]:
    """Export the rows to the files that the options name; one line for each."""
    lines = []
    if options.export:
        from nlhf.analysis.study import export

        export(results.study.rows, options.export)
        lines.append(f"{options.export}")
    if options.tensorboard:
        from nlhf.analysis.tensorboard import write

        count = write(results.study.rows, options.tensorboard, results.criterion)
        lines.append(f"{count} runs for tensorboard --logdir {options.tensorboard}")
    return lines

"""`python -m nlhf.analysis runs/STUDY`: a ranked table, figures and report.html; `diff RUN_A RUN_B`: what differs."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from nlhf.analysis.diff import diff, shown
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.view import COSTS, METRICS, View


def main(arguments: list[str]) -> int:
    """Run the command; exit code 2, with a sentence, where there is nothing to analyse or an option is unknown."""
    try:
        return _diff(arguments[1:]) if arguments[:1] == ["diff"] else _analyse(arguments)
    except AnalysisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _diff(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m nlhf.analysis diff", description="What differs between two runs.")
    parser.add_argument("first", type=Path, metavar="RUN_A", help="runs/STUDY/RUN")
    parser.add_argument("second", type=Path, metavar="RUN_B")
    options = parser.parse_args(arguments)
    configs, versions, rows = diff(options.first, options.second)
    print(*shown(configs, "config"), *shown(versions, "made with"), rows, sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nlhf.analysis",
        description="Which algorithm wins, by how much, and is it luck: a table, figures and report.html of a study.",
        epilog="python -m nlhf.analysis diff RUN_A RUN_B says what differs between two runs.",
    )
    parser.add_argument("folder", type=Path, help="runs/STUDY, or any folder of runs")
    parser.add_argument("--out", type=Path, help="where report.html and figures/ go (default: the folder)")
    parser.add_argument("--x", default="queries", metavar="COST", help=f"{', '.join(COSTS)} (default: queries)")
    parser.add_argument("--metric", default="exploitability", help=f"{', '.join(METRICS)} (default: exploitability)")
    parser.add_argument("--target", type=float, default=1e-6, help="value of the metric to reach (default: 1e-6)")
    parser.add_argument("--by", default="", metavar="COLUMNS", help="what is compared apart, as game,beta (default: "
                        "whatever varies, so that nothing is pooled but seeds)")  # fmt: skip
    parser.add_argument("--export", type=Path, metavar="FILE", help="write all rows to FILE.csv or FILE.parquet")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="write event files (extra tensorboard)")
    parser.add_argument("--no-report", action="store_true", help="the table alone: no figures and no report.html")
    return parser


def _analyse(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    view = View(options.metric, options.target, options.x, tuple(filter(None, options.by.split(","))))
    from nlhf.analysis import tensorboard, terminal, words
    from nlhf.analysis.load import export
    from nlhf.analysis.material import gather

    material = gather(options.folder, view)
    width = None if sys.stdout.isatty() else terminal.WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    states = Counter(run["status"] for run in material.study.runs)
    console.print(", ".join(f"{count} {status}" for status, count in states.items()))
    terminal.show(material, console)
    console.print()
    console.print(words.headline(material.summary, material.comparisons, view), style="bold")
    for caution in material.cautions:
        console.print(f"- {caution}")
    if options.export:
        export(material.study.rows, options.export)
        console.print(f"{options.export}", soft_wrap=True)
    if options.tensorboard:
        count = tensorboard.write(material.study.rows, options.tensorboard, view)
        console.print(f"{count} runs for tensorboard --logdir {options.tensorboard}", soft_wrap=True)
    if not options.no_report:
        from nlhf.analysis.report import write

        console.print(f"{write(material, options.out or options.folder)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

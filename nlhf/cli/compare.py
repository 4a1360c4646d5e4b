"""`python -m nlhf.analysis runs/STUDY`: a ranked table, figures and report.html; `diff RUN_A RUN_B`: what differs;
`votes FILE`: what a file of votes shows."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nlhf.analysis.criterion import COSTS, METRICS, View
from nlhf.analysis.diff import diff, shown
from nlhf.analysis.errors import AnalysisError
from nlhf.config import ConfigError
from nlhf.io.files import WriteError
from nlhf.terminal import Parser, console, say, warn

if TYPE_CHECKING:
    from nlhf.analysis.results import Material


def main(arguments: list[str]) -> int:
    """Run the command.

    Returns: the exit code: 2, with a sentence, if there is nothing to analyse or an option is wrong; 1 if a file cannot
    be written.
    """
    try:
        command = {"diff": _diff, "votes": _votes}.get(arguments[0]) if arguments else None
        return command(arguments[1:]) if command else _analyse(arguments)
    except (AnalysisError, ConfigError) as error:
        warn(f"error: {error}")
    except WriteError as error:
        warn(f"error: {error}")
        return 1
    except OSError as error:
        place = error.filename or "the output"
        warn(f"error: {place} cannot be used ({error.strerror}): give another place.")
    return 2


class _Parser(Parser):
    """Refuses in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise AnalysisError(f"{message}: see {self.prog} --help.")


def _diff(arguments: list[str]) -> int:
    parser = _Parser(prog="python -m nlhf.analysis diff", description="What differs between two runs.")
    parser.add_argument("first", type=Path, metavar="RUN_A", help="runs/STUDY/RUN")
    parser.add_argument("second", type=Path, metavar="RUN_B")
    options = parser.parse_args(arguments)
    configs, versions, rows = diff(options.first, options.second)
    for line in (*shown(configs, "config"), *shown(versions, "made with"), rows):
        say(line)
    return 0


def _votes(arguments: list[str]) -> int:
    parser = _Parser(prog="python -m nlhf.analysis votes", description="What a file of votes shows: how cyclic it is "
                     "against chance, who wins, what an equilibrium plays, and how voters agree.")  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="a CSV with item_a,item_b,wins_a,wins_b, as of game=votes")
    parser.add_argument("--context", default="", metavar="COLUMNS", help="look at each context apart, as question_id")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows with this value, as judge=human; several of one column: any of them",
    )
    parser.add_argument("--drop", default="", metavar="ITEMS", help="leave these items out, as gpt4,bard")
    parser.add_argument("--out", type=Path, help="where report.html goes (default: runs/votes/FILE)")
    options = parser.parse_args(arguments)
    if bad := [word for word in options.where if "=" not in word]:
        raise AnalysisError(f"--where {bad[0]} is no COLUMN=VALUE: give one, as --where judge=human.")
    from nlhf.leaderboard import report as ballots
    from nlhf.votes.where import Value, parsed

    where: dict[str, list[Value]] = {}
    for column, value in (word.split("=", 1) for word in options.where):
        where.setdefault(column.strip(), []).append(parsed(value))
    context, drop = (list(filter(None, text.split(","))) for text in (options.context, options.drop))
    found = ballots.examine(options.file, context, where, drop)
    output = console()
    for line in found.lines:
        output.print(line)
    output.print(f"{ballots.write(found, options.file, options.out or Path('runs/votes', Path(options.file).stem))}",
                  soft_wrap=True)  # fmt: skip
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m nlhf.analysis",
        description="Which algorithm wins, by how much, and is it luck: a table, figures and report.html of a study.",
        epilog="python -m nlhf.analysis diff RUN_A RUN_B says what differs between two runs, python -m nlhf.analysis "
        "votes FILE what a file of votes shows.",
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
    from nlhf.analysis import conclusions, ranking_table
    from nlhf.analysis.results import gather

    material = gather(options.folder, view)
    written = _exports(material, options)
    out: Path = options.out or options.folder
    out.mkdir(parents=True, exist_ok=True)
    output = console(ranking_table.WIDTH)
    states = Counter(run["status"] for run in material.study.runs)
    output.print(", ".join(f"{count} {status}" for status, count in states.items()))
    ranking_table.show(material, output)
    output.print()
    output.print(conclusions.headline(material.summary, material.comparisons, material.view), style="bold")
    for caution in material.cautions:
        output.print(f"- {caution}")
    for line in written:
        output.print(line, soft_wrap=True)
    if not options.no_report:
        from nlhf.analysis.report import write

        output.print(f"{write(material, out)}", soft_wrap=True)
    return 0


def _exports(material: Material, options: argparse.Namespace) -> list[str]:
    """Write the rows where they are wanted; a line each."""
    lines = []
    if options.export:
        from nlhf.analysis.study import export

        export(material.study.rows, options.export)
        lines.append(f"{options.export}")
    if options.tensorboard:
        from nlhf.analysis.tensorboard import write

        count = write(material.study.rows, options.tensorboard, material.view)
        lines.append(f"{count} runs for tensorboard --logdir {options.tensorboard}")
    return lines


if __name__ == "__main__":
    from nlhf.cli.output import run

    run(main)

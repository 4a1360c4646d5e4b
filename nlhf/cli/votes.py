"""`nlhf votes show|convert FILE`: describe a file of votes before training on it, or write it in tidy form."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.cli.parser import Parser, in_sentences
from nlhf.config import ConfigError
from nlhf.terminal import console, show_warnings

if TYPE_CHECKING:
    from nlhf.votes.formats.base import BothBad
    from nlhf.votes.where import Value


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    show_warnings()
    if options.command == "convert":
        _convert(options.file, options.out, _names(options.columns), options.both_bad or "tie", options.force)
    else:
        _show(options)
    return 0


def _convert(path: str, out: Path, names: dict[str, str], both_bad: BothBad, force: bool) -> None:
    """Write the votes in tidy form, and print what was written."""
    from nlhf.votes.convert import convert

    output = console()
    for file, report in convert(path, out, names, both_bad, force).items():
        output.print(f"{file}: {report.sentence}.", soft_wrap=True)


def _show(options: argparse.Namespace) -> None:
    """Print the summary of a file, and write its page."""
    from nlhf.leaderboard.report import write
    from nlhf.leaderboard.summary import examine

    context, drop, cluster = (
        list(filter(None, text.split(","))) for text in (options.context, options.drop, options.cluster)
    )
    where = _where(options.where)
    game = _game(options.file, options.config_dir) if options.file.startswith("game=") else {"path": options.file}
    path = game["path"]
    summary = examine(
        path,
        context or game.get("context", []),
        where or game.get("where"),
        drop or game.get("drop", []),
        cluster or game.get("cluster", []),
        _names(options.columns) or game.get("columns"),
        options.both_bad or game.get("both_bad", "tie"),
        options.policy,
    )
    output = console()
    if summary.report and summary.report.is_complete:  # a warning reports other files
        output.print(f"{summary.report.sentence}.", soft_wrap=True)
    for line in summary.lines:
        output.print(line)
    page = write(summary, path, options.out or Path("runs/votes", Path(path.removeprefix("embedded:")).stem))
    output.print(f"{page}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    example = "nlhf votes show votes.csv --context question_id"
    parser = Parser("nlhf votes", example, description="Describe or convert votes.")
    commands = parser.add_subparsers(required=True, metavar="show|convert", dest="command")
    show = commands.add_parser(
        "show",
        example="nlhf votes show votes.csv --context question_id --where judge=human",
        description="Describe a file of votes: how cyclic it is compared with chance, who wins, what an equilibrium "
        "plays, and how often voters agree. Writes report.html.",
        help="describe a file of votes",
    )
    show.add_argument(
        "file",
        metavar="FILE",
        help="votes, as a CSV with item_a,item_b,wins_a,wins_b, or in another format of docs/formats.md; or game=NAME, "
        "a game that reads a file",
    )
    _add_format(show)
    show.add_config_dir()
    show.add_argument("--context", default="", metavar="COLUMNS", help="describe each context too, as question_id")
    show.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="use only rows with this value, as judge=human; repeat it to allow several values of a column",
    )
    show.add_argument(
        "--cluster",
        default="",
        metavar="COLUMNS",
        help="columns that name voters or questions whose votes may be alike, as annotator; without it, votes are "
        "taken as independent",
    )
    show.add_argument(
        "--policy", metavar="FILE", help="also bound the exploitability of this policy, a CSV with item,weight"
    )
    show.add_argument("--drop", default="", metavar="ITEMS", help="leave these items out, as gpt4,bard")
    show.add_argument("--out", type=Path, help="folder of report.html (default: runs/votes/FILE)")
    change = commands.add_parser(
        "convert",
        example="nlhf votes convert battles.parquet --out votes.csv",
        description="Write votes as a CSV with item_a,item_b,wins_a,wins_b, and votes on texts as a jsonl file beside "
        "it. A JSON file beside them counts the rows that are not used.",
        help="write votes in tidy form",
    )
    change.add_argument("file", metavar="FILE", help="votes in a format of docs/formats.md")
    change.add_argument("--out", type=Path, required=True, metavar="CSV", help="the file to write, votes.csv")
    change.add_argument("--force", action="store_true", help="replace files that exist")
    _add_format(change)
    return parser


def _add_format(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a file is read."""
    parser.add_argument(
        "--columns", default="", metavar="NAMES", help="the file's names of columns, as item_a=left,item_b=right"
    )
    parser.add_argument(
        "--both-bad", choices=("tie", "drop"), help="votes that both are bad: ties (the default), or left out"
    )


def _names(text: str) -> dict[str, str]:
    """The file's names of columns by their tidy names."""
    pairs = [entry.partition("=") for entry in filter(None, text.split(","))]
    for new, equals, old in pairs:
        if not (new.strip() and equals and old.strip()):
            raise ConfigError(
                f"--columns {text} is not NAME=COLUMN,...: write it as --columns item_a=left,item_b=right."
            )
    return {new.strip(): old.strip() for new, _, old in pairs}


def _game(choice: str, config_dir: str | None) -> dict[str, Any]:
    """The keys of the game `game=NAME`, which must be a game of votes."""
    from nlhf.launch.compose import composed, plain

    with composed([choice], config_dir=config_dir) as config:
        game: dict[str, Any] = plain(config)["game"]
    if not {"path", "context", "where", "drop", "cluster"} <= set(game) or game["path"] is None:
        raise ConfigError(f"{choice} does not read a file of votes: give a file, or a game such as game=mtbench.")
    return game


def _where(conditions: Sequence[str]) -> dict[str, list[Value]]:
    """The values of each column that --where allows."""
    from nlhf.votes.where import parsed

    where: dict[str, list[Value]] = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition} is not COLUMN=VALUE: write it as --where judge=human.")
        where.setdefault(column.strip(), []).append(parsed(value))
    return where

"""`nlhf votes show|convert|ask FILE`: describe a file of votes, write it in tidy form, or choose the next pairs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.cli import votes_ask
from nlhf.cli.parser import Parser, in_sentences
from nlhf.cli.ratings_table import ratings_table
from nlhf.cli.vote_options import add_format, add_selection, listed_in, names_of, where_of
from nlhf.config import ConfigError
from nlhf.terminal import console, show_warnings

if TYPE_CHECKING:
    from nlhf.votes.formats.base import BothBad


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    show_warnings()
    if options.command == "convert":
        _convert(options.file, options.out, names_of(options.columns), options.both_bad or "tie", options.force)
    elif options.command == "ask":
        votes_ask.run(options)
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
    from nlhf.leaderboard.answers import BEST
    from nlhf.leaderboard.report import answers, write
    from nlhf.leaderboard.summary import examine
    from nlhf.votes.style import measures_of

    context, drop, cluster = (listed_in(text) for text in (options.context, options.drop, options.cluster))
    where = where_of(options.where)
    game = _game(options.file, options.config_dir) if options.file.startswith("game=") else {"path": options.file}
    path = game["path"]
    summary = examine(
        path,
        context or game.get("context", []),
        where or game.get("where"),
        drop or game.get("drop", []),
        cluster or game.get("cluster", []),
        names_of(options.columns) or game.get("columns"),
        options.both_bad or game.get("both_bad", "tie"),
        options.policy,
        options.intervals,
        measures_of(options.control),
    )
    output = console()
    if summary.report and summary.report.is_complete:  # a warning reports other files
        output.print(f"{summary.report.sentence}.", soft_wrap=True)
    output.print(f"{summary.pooled.votes:g} votes on {len(summary.pooled.items)} items.")
    for section in answers(summary, path):
        output.print("")
        output.print(section.question, style="bold")
        output.print(section.answer)
        if section.question == BEST and (table := ratings_table(summary)) is not None:
            output.print(table)
        for line in section.lines if section.question != BEST else ():
            output.print(line)
        for command in section.commands:
            output.print(f"  {command}", soft_wrap=True)
    if options.details:
        output.print("")
        for line in summary.lines:
            output.print(line)
    page = write(summary, path, options.out or Path("runs/votes", Path(path.removeprefix("embedded:")).stem))
    output.print("")
    output.print(f"{page}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    example = "nlhf votes show votes.csv --context question_id"
    parser = Parser("nlhf votes", example, description="Describe or convert votes, or ask for more.")
    commands = parser.add_subparsers(required=True, metavar="show|convert|ask", dest="command")
    show = commands.add_parser(
        "show",
        example="nlhf votes show votes.csv --context question_id --where judge=human",
        description="Describe a file of votes: how cyclic it is compared with chance, who wins, what an equilibrium "
        "plays, and how often voters agree. Prints a table and three answers, and writes report.html.",
        help="describe a file of votes",
    )
    show.add_argument(
        "file",
        metavar="FILE",
        help="votes, as a CSV with item_a,item_b,wins_a,wins_b, or in another format of docs/formats.md; or game=NAME, "
        "a game that reads a file",
    )
    add_format(show)
    show.add_config_dir()
    add_selection(show, "describe each context too, as question_id")
    show.add_argument(
        "--policy", metavar="FILE", help="also bound the exploitability of this policy, a CSV with item,weight"
    )
    show.add_argument(
        "--intervals",
        choices=("sandwich", "bootstrap"),
        default="sandwich",
        help="intervals of ratings: from the sandwich variance (the default), or from votes, with --cluster from whole "
        "clusters, that are drawn with replacement",
    )
    show.add_argument(
        "--control",
        default="",
        metavar="MEASURES",
        help="also rate items at equal style of their texts: length, headers, lists, bold or style for all four, as "
        "--control length,bold; reads the texts",
    )
    show.add_argument("--details", action="store_true", help="print all sentences of the page, too")
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
    add_format(change)
    votes_ask.add_parser(commands)
    return parser


def _game(choice: str, config_dir: str | None) -> dict[str, Any]:
    """The keys of the game `game=NAME`, which must be a game of votes."""
    from nlhf.launch.compose import composed, plain

    with composed([choice], config_dir=config_dir) as config:
        game: dict[str, Any] = plain(config)["game"]
    if not {"path", "context", "where", "drop", "cluster"} <= set(game) or game["path"] is None:
        raise ConfigError(f"{choice} does not read a file of votes: give a file, or a game such as game=mtbench.")
    return game

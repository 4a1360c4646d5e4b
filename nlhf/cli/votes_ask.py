"""`nlhf votes ask FILE`: which pairs to vote on next, until the votes prove enough."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nlhf.cli.vote_options import add_format, add_selection, listed_in, names_of, where_of
from nlhf.terminal import console

LOOP = """nlhf votes ask votes.csv --target 0.05 --out pairs.csv     choose the pairs
  (fill in wins_a and wins_b of pairs.csv: 1,0 or 0,1, or 0.5,0.5 for a tie)
  tail -n +2 pairs.csv >> votes.csv                          append the answers
  and repeat, until pairs.csv has no rows"""


def add_parser(commands: Any) -> None:
    """Add the command to the parsers of `nlhf votes`."""
    parser = commands.add_parser(
        "ask",
        example=LOOP,
        description="Choose the pairs whose votes lower the certified exploitability most, and write a row for each "
        "vote, in random order and with a random item first. The bound holds whatever was asked, at any time.",
        help="choose the pairs to vote on next",
    )
    parser.add_argument(
        "file", metavar="FILE", help="votes in a format of docs/formats.md; a CSV with a header alone needs --items"
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="votes to ask for (default: 3%% of the votes, at least 20)"
    )
    parser.add_argument(
        "--target",
        type=float,
        default=0.05,
        metavar="E",
        help="certified exploitability that is wanted (default: 0.05)",
    )
    parser.add_argument("--items", default="", help="all items, as a,b,c, or a file with one in each line")
    add_format(parser)
    add_selection(parser, "ask in each context, as question_id, until all of them reach the target")
    parser.add_argument("--out", type=Path, metavar="CSV", help="file of pairs (default: runs/votes/FILE/answers.csv)")
    parser.add_argument("--seed", type=int, default=0, help="of the order, the sides and the simulations (default: 0)")
    parser.add_argument(
        "--simulations", type=int, default=20, metavar="N", help="for the votes that remain; 0 for none (default: 20)"
    )
    parser.add_argument(
        "--accept-changes", action="store_true", help="go on although earlier votes were changed or removed"
    )
    parser.add_argument(
        "--hash-voters",
        nargs="?",
        const="",
        metavar="COLUMNS",
        help="also write a copy of the votes with salted hashes of voters",
    )


def run(options: argparse.Namespace) -> None:
    """Write the pairs, and print what the votes prove."""
    from nlhf.leaderboard.ask import Request, ask, items_of, write_voters
    from nlhf.votes.hashed import salt_path
    from nlhf.votes.read import Selection, warn_of_unused

    context, drop, cluster = (listed_in(text) for text in (options.context, options.drop, options.cluster))
    request = Request(
        options.file,
        Selection(
            context, where_of(options.where), drop, cluster, names_of(options.columns), options.both_bad or "tie"
        ),
        items_of(options.items),
        options.batch,
        options.target,
        options.out or Path("runs/votes", Path(options.file.removeprefix("embedded:")).stem, "answers.csv"),
        options.seed,
        options.simulations,
        options.accept_changes,
    )
    suggestion, history = ask(request)
    output = console()
    if suggestion.counted.report:
        warn_of_unused(suggestion.counted.report)
    for line in suggestion.lines:
        output.print(line)
    for change in history.accepted:
        output.print(f"The bound takes for granted that no outcome of a vote was the reason for this: {change}.")
    if note := suggestion.counted.append_note:
        output.print(note, soft_wrap=True)
    output.print(f"{request.out}", soft_wrap=True)
    if options.hash_voters is not None:
        copy = write_voters(request, listed_in(options.hash_voters), suggestion.counted)
        output.print(f"{copy}, with the salt in {salt_path()}: keep it private.", soft_wrap=True)

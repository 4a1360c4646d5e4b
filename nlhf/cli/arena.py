"""`nlhf arena`: policies play each other under a judge, and are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nlhf.analysis.arena_ranking import TITLES
from nlhf.cli.parser import Parser, in_sentences
from nlhf.config import ConfigError
from nlhf.runner.lock import BusyError
from nlhf.runner.trust import NOTHING, Trust, add_options
from nlhf.terminal import console, say, show_progress, show_warnings, warn_lines

if TYPE_CHECKING:
    from nlhf.arena.ranking import Ranking

WIDTH = 100  # columns, if the output is not a terminal
DESCRIPTION = """\
Let every policy and checkpoint play every other one on prompts under a judge, and rank them. Repeating the command
plays only missing games. conf/arena.yaml explains the keys."""


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = Parser("nlhf arena", "nlhf arena runs/language_model judge=panel most_prompts=50", description=DESCRIPTION)
    parser.add_argument("words", nargs="*", metavar="STUDY|RUN|MODEL|FILE|KEY=VALUE",
                        help="folders of runs and models, files of completions; keys of conf/arena.yaml")  # fmt: skip
    parser.add_config_dir()
    add_options(parser)
    options = parser.parse_intermixed_args(arguments or ["--help"])
    paths = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    show_warnings()
    return play(paths, overrides, Trust.of(options), options.config_dir)


def play(paths: Sequence[str], overrides: Sequence[str], trust: Trust = NOTHING, config_dir: str | None = None) -> int:
    """Play the missing games and print the ranking; returns the exit code, 130 for an interrupt."""
    try:
        from nlhf.arena.contest import hold  # loads torch

        contest = hold(paths, overrides, trust, config_dir, show_progress)
    except (ConfigError, BusyError) as error:
        raise ConfigError(str(error).replace("game.judge.", "judge.")) from error  # this judge is not part of a game
    except KeyboardInterrupt:
        show_progress()
        warn_lines("\nstopped: the verdicts so far are saved; repeat the same command to go on.")
        return 130
    _show(contest.ranking, contest.verdicts)
    say(contest.page)
    return 0


def _show(ranking: Ranking, verdicts: str) -> None:
    """Print the ranking."""
    from rich.table import Table

    show_progress()
    output = console(WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in TITLES:
        is_name = title == "contestant"
        table.add_column(title, justify="left" if is_name else "right", overflow="fold" if is_name else "ellipsis")
    for rank, k in enumerate(ranking.order, 1):
        table.add_row(str(rank), ranking.pooled.items[k], *ranking.cells(k))
    output.print(table)
    output.print(ranking.headline, style="bold")
    for line in ranking.lines:
        output.print(line)
    output.print(verdicts, style="dim")

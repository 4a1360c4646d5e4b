"""`nlhf status|logs|cancel|list`: the progress of runs, read from their files, and the choices of the config."""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from nlhf.cli.parser import Parser, in_sentences
from nlhf.config import ConfigError
from nlhf.launch import slurm_queue, status
from nlhf.runner.chosen import CONF
from nlhf.terminal import say, say_lines, warn

WATCH = 5.0  # seconds
GROUPS = (
    "game",
    "reference",
    "regulariser",
    "solution",
    "algorithm",
    "prox",
    "policy",
    "experiment",
    "hydra/launcher",
)
SUBCOMMANDS = (  # name, operand, example, description
    ("status", "STUDY", "nlhf status runs/first --watch", "Counts of runs by state, progress, failures, time left."),
    ("logs", "RUN", "nlhf logs runs/first/RUN", "Print run.log of a run."),
    ("cancel", "STUDY", "nlhf cancel runs/first", "Cancel the tasks that SLURM still has of a study."),
    ("list", "", "nlhf list", "List every game, algorithm, engine, experiment and launcher, with one line on each."),
)


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the subcommand that the first argument names."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        return _list()
    if not options.study.is_dir():
        raise ConfigError(f"{options.study} is not a folder: give runs/STUDY (for logs runs/STUDY/RUN).")
    try:
        return {"status": _status, "logs": _logs, "cancel": _cancel}[options.command](options)
    except KeyboardInterrupt:  # the end of --watch
        return 128 + signal.SIGINT


def _parser() -> Parser:
    parser = Parser("nlhf")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, operand, example, description in SUBCOMMANDS:
        one = commands.add_parser(name, example=example, description=description)
        if operand:
            one.add_argument("study", type=Path, metavar=operand, help=f"runs/{operand.replace('RUN', 'STUDY/RUN')}")
        if name == "status":
            one.add_argument("--watch", action="store_true", help=f"repeat every {WATCH:g} s")
            one.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _status(options: argparse.Namespace) -> int:
    while True:
        not_begun = slurm_queue.not_begun(options.study)
        if options.json:
            say_lines(json.dumps(status.as_json(options.study, not_begun)))
        else:
            for line in status.show(options.study, not_begun):
                say(line)
        if not options.watch:
            return 0
        time.sleep(WATCH)


def _logs(options: argparse.Namespace) -> int:
    try:
        log = (options.study / "run.log").read_bytes().decode("utf-8", "backslashreplace")
    except OSError:
        warn(f"error: {options.study} has no run.log: give the folder of a run, runs/STUDY/RUN.")
        return 2
    say_lines(log.removesuffix("\n"))
    return 0


def _cancel(options: argparse.Namespace) -> int:
    tasks = slurm_queue.cancel(options.study)
    cancelled = f"cancelled {len(tasks)} tasks; repeat the command that submitted them to go on"
    say(cancelled if tasks else f"SLURM has no task of {options.study}")
    return 0


def _list() -> int:
    for group in GROUPS:
        say(group)
        for file in sorted((CONF / group).glob("*.yaml")):
            lines = file.read_text(encoding="utf-8").split("\n")
            comment = next((line for line in lines if line.startswith("#") and "@package" not in line), "#")
            say(f"  {file.stem:<28} {comment.lstrip('# ')}")
    return 0

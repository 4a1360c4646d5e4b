"""`python -m nlhf.launch status|logs|cancel|list`: what runs are doing, from their files; what can be chosen."""

from __future__ import annotations

import argparse
import json
import signal
import time
from pathlib import Path

from nlhf.config import ConfigError
from nlhf.io.files import unusable
from nlhf.launch import slurm, status
from nlhf.launch.choices import CONF
from nlhf.terminal import Parser, say, say_lines, warn

WATCH = 5.0  # seconds
GROUPS = ("game", "reference", "algorithm", "prox", "policy", "experiment", "hydra/launcher")


def main(arguments: list[str]) -> int:
    """Run the command; exit code 2, with a sentence, for a folder that is not there."""
    parser = Parser(prog="python -m nlhf.launch", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("status", help="counts by state, progress, failures, estimated end")
    asked.add_argument("study", type=Path, help="runs/STUDY")
    asked.add_argument("--watch", action="store_true", help=f"again every {WATCH:g} s")
    asked.add_argument("--json", action="store_true", help="for programs")
    for name, words in (("logs", "run.log of a run, runs/STUDY/RUN"), ("cancel", "what SLURM still has of runs/STUDY")):
        commands.add_parser(name, help=words).add_argument("study", type=Path)
    commands.add_parser("list", help="every game, algorithm, engine, experiment and launcher, with a line on each")
    options = parser.parse_args(arguments)
    if options.command == "list":
        return _list()
    try:
        if not options.study.is_dir():
            raise ConfigError(f"{options.study} is no folder: give runs/STUDY (for logs runs/STUDY/RUN).")
        return {"status": _status, "logs": _logs, "cancel": _cancel}[options.command](options)
    except (ConfigError, OSError) as error:
        warn(f"error: {unusable(error) if isinstance(error, OSError) else error}")
        return 2
    except KeyboardInterrupt:  # the end of --watch
        return 128 + signal.SIGINT


def _status(options: argparse.Namespace) -> int:
    while True:
        not_begun = slurm.not_begun(options.study)
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
    tasks = slurm.cancel(options.study)
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


if __name__ == "__main__":
    from nlhf.cli.output import run

    run(main)

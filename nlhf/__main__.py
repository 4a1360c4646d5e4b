"""The command `nlhf`, also started as `python -m nlhf`. Each subcommand imports its module when it is used."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import NoReturn

import nlhf
from nlhf.messages import command, nearest

COMMANDS = {  # module in nlhf.cli, operands, summary
    "run": ("entry", "OVERRIDES", "run one config, or a sweep with -m"),
    "compare": ("compare", "STUDY", "rank the algorithms of a study: table, figures, report"),
    "diff": ("diff", "RUN RUN", "show what differs between two runs"),
    "votes": ("votes", "show FILE", "describe a file of votes: cycles, winners, equilibrium"),
    "judge": ("judge", "train|grade", "train a judge on votes over texts, or grade one"),
    "arena": ("arena", "STUDY", "let policies play each other under a judge"),
    "exploit": ("exploit", "RUN", "bound a language model's exploitability from below"),
    "from-trl": ("from_trl", "FILE", "translate the settings of a TRL trainer into a command"),
    "status": ("status", "STUDY", "show the progress and the failures of a study"),
    "logs": ("status", "RUN", "print the log of a run"),
    "cancel": ("status", "STUDY", "cancel the SLURM jobs of a study"),
    "list": ("status", "", "list games, algorithms, engines, experiments, launchers"),
}
HELP = f"""usage: nlhf COMMAND ...

A laboratory for Nash learning from human feedback.

{chr(10).join(f"  {f'{name} {operands}':<19} {summary}" for name, (_, operands, summary) in COMMANDS.items())}

  nlhf COMMAND --help shows options and an example.
  --version prints the version, --completion bash a script for bash to eval.

examples:
  nlhf run -m algorithm=nash_mp,omd seeds=10 study=first
  nlhf compare runs/first"""


def main() -> NoReturn:
    """Run the subcommand that the program's arguments name, and end with its exit code."""
    name, *arguments = sys.argv[1:] or ["--help"]
    module = importlib.import_module(f"nlhf.cli.{COMMANDS[name][0]}") if name in COMMANDS else None
    with contextlib.suppress(FileNotFoundError):  # the current folder was removed
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.append(folder)  # for own algorithms, games and judges, as with `python -m`
    if name == "run" and module is not None:
        sys.argv[1:] = arguments
        module.main()
        sys.exit()
    from nlhf.cli.output import run

    if module is None:
        run(_about, [name, *arguments])
    run(module.main, [name, *arguments] if COMMANDS[name][0] == "status" else arguments)


def _about(arguments: list[str]) -> int:
    """Print the help or the version; exit code 2 for a name that is not a command."""
    from nlhf.terminal import say, say_lines, warn

    name = arguments[0]
    if name in ("-h", "--help"):
        say_lines(HELP)
    elif name == "--version":
        say(f"nlhf {nlhf.__version__}")
    elif arguments == ["--completion", "bash"]:
        from nlhf.cli.completion import bash

        say_lines(bash(COMMANDS))
    else:
        meant = ["run", *arguments] if "=" in name else [nearest(name, COMMANDS) or "--help", *arguments[1:]]
        warn(f"error: {name} is not a command: did you mean {command('nlhf', *meant)}")
        return 2
    return 0


if __name__ == "__main__":
    main()

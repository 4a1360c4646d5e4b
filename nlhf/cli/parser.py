"""What the subcommands share: a parser of options, and bad input reported in one sentence."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nlhf.config import ConfigError
from nlhf.io.files import WriteError, unusable
from nlhf.terminal import warn

Command = Callable[[Sequence[str]], int]


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options that reports errors as a ConfigError.

    Args:
        prog: the command, "nlhf diff".
        example: an example of the command, shown at the end of its help.
        options: further arguments of ArgumentParser.
    """

    def __init__(self, prog: str, example: str = "", **options: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        epilog = f"example:\n  {example}" if example else None
        super().__init__(prog=prog, epilog=epilog, formatter_class=formatter, allow_abbrev=False, **options)

    def add_config_dir(self) -> None:
        """Add `--config-dir`."""
        help_line = "a folder with further choices, such as judge/mine.yaml"
        self.add_argument("--config-dir", metavar="DIR", help=help_line)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}: see {self.prog} --help.")


def in_sentences(main: Command) -> Command:
    """Report bad input in one sentence with exit code 2, and a file that cannot be written with exit code 1."""

    @functools.wraps(main)
    def command(arguments: Sequence[str]) -> int:
        try:
            return main(arguments)
        except (ConfigError, OSError) as error:
            warn(f"error: {unusable(error) if isinstance(error, OSError) else error}")
            return 1 if isinstance(error, WriteError) else 2

    return command

"""`nlhf run`: Hydra composes the config. Errors of Hydra become one sentence, and interrupts one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nlhf.cli.early import raise_at_interrupts
from nlhf.cli.output import guard_output, interrupts_end_the_program, is_interrupt
from nlhf.launch.choices import Choices
from nlhf.launch.explain import explained
from nlhf.runner.chosen import CONF
from nlhf.terminal import warn

OPTIONS = ("help", "hydra-help", "version", "cfg", "resolve", "package", "run", "multirun", "shell-completion",
           "config-path", "config-name", "config-dir", "experimental-rerun", "info")  # fmt: skip
PACKAGE = Path(__file__).resolve().parents[1]
FULL_ERROR = "HYDRA_FULL_ERROR"  # Hydra's variable: at 1 it raises errors instead of printing them


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _task(config: DictConfig) -> float:
    """Run one config; returns log10 of the final exploitability."""
    from nlhf.cli.run import run_command

    return run_command(config)


def main() -> None:
    """Run the overrides in `sys.argv`."""
    start(_task)


def start(main: Callable[[], Any]) -> None:
    """Run Hydra's main function as a command.

    Exit code 2, with a sentence, for overrides that Hydra refuses; 130 for an interrupt that no run has handled.
    """
    guard_output()
    raise_at_interrupts()
    if "RANK" in os.environ:
        from nlhf.language.team import join

        join()
    sys.argv[1:] = _options_first(sys.argv[1:])
    if dashed := next(filter(_is_no_option, sys.argv[1:]), None):
        warn(f"error: {dashed} is not an option: write KEY=VALUE without dashes, as in beta=0.1, or see --help.")
        sys.exit(2)
    with interrupts_end_the_program("stopped at once: repeat the same command to go on from the last checkpoint."):
        wants_traceback = os.environ.get(FULL_ERROR) == "1"
        try:
            with _raised_by_hydra():
                main()
        except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
            if wants_traceback or is_interrupt(error) or not _is_of_hydra(error):
                raise
            multirun = bool({"-m", "--multirun"} & set(sys.argv[1:]))
            available = Choices.of_command(sys.argv[1:])
            warn(f"error: {explained(error, sys.argv[1:], multirun, available)}")
            sys.exit(2)


def _options_first(arguments: list[str]) -> list[str]:
    """The arguments with -m and --config-dir in front, as argparse takes no options between overrides."""
    options, overrides, arguments_left = list[str](), list[str](), iter(arguments)
    for word in arguments_left:
        if word in ("-m", "--multirun"):
            options += [] if {"-m", "--multirun"} & set(options) else [word]
        elif word in ("-cd", "--config-dir"):
            options += [word, *islice(arguments_left, 1)]
        elif word.startswith("--config-dir="):
            options.append(word)
        else:
            overrides.append(word)
    return options + overrides


def _is_no_option(word: str) -> bool:
    """True for a word with two dashes that starts no option of Hydra; argparse takes shortened ones."""
    name = word.removeprefix("--").partition("=")[0]
    return word.startswith("--") and not any(option.startswith(name) for option in OPTIONS)


@contextmanager
def _raised_by_hydra() -> Iterator[None]:
    """Let Hydra raise its errors within the block."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


def _is_of_hydra(error: BaseException) -> bool:
    """True if an error comes from Hydra or the overrides, and not from a run or from nlhf itself."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first one is `start`
    if any(frame.name == "run_command" for frame in frames):
        return False
    of_nlhf = any(Path(frame.filename).is_relative_to(PACKAGE) for frame in frames)
    return isinstance(error, HydraException | OmegaConfBaseException) or not of_nlhf

"""Starts `python main.py`: what Hydra says with a traceback is said in a sentence."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal import utils
from hydra.errors import CompactHydraException, HydraException

from nlhf.output import guard_output
from nlhf.terminal import cleaned, warn


def start(main: Callable[[], Any]) -> None:
    """Run Hydra's main function as a command; an interrupt that no run has handled ends it with code 130."""
    guard_output()
    try:
        with _hydra_in_sentences():
            main()
    except KeyboardInterrupt:
        warn("stopped at once: repeat the same command to go on from the last checkpoint.")
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _hydra_in_sentences() -> Iterator[None]:
    """Print errors of Hydra's own code in one line, with exit code 2; HYDRA_FULL_ERROR=1 shows tracebacks as ever."""
    report = utils.run_and_report

    def report_in_sentences(function: Callable[[], Any]) -> Any:
        return report(lambda: _in_a_sentence(function))

    utils.run_and_report = report_in_sentences  # type: ignore[assignment]
    try:
        yield
    finally:
        utils.run_and_report = report


def _in_a_sentence(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except CompactHydraException as error:  # Hydra prints these without a traceback
        error.args = tuple(cleaned(str(argument)) for argument in error.args)
        raise
    except (HydraException, ValueError, OSError) as error:
        inside = any(frame.name == "run_command" for frame in traceback.extract_tb(error.__traceback__))
        if inside or os.environ.get("HYDRA_FULL_ERROR") == "1":  # a fault of ours
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        warn(f"error: Hydra cannot start this command ({reason}): correct its overrides.")
        sys.exit(2)

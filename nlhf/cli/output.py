"""Handles output that cannot be written: the reader has gone (`| head -1`), or the disk is full.

Every command starts through `run`, or calls `guard_output` before it prints anything.
"""

from __future__ import annotations

import atexit
import errno
import io
import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from nlhf.cli.early import INTERRUPTED, raise_at_interrupts
from nlhf.garbage import collect_again
from nlhf.terminal import warn, warn_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import ReadableBuffer


def run(main: Callable[[list[str]], int], arguments: list[str]) -> NoReturn:
    """Run a command and end the program with its exit code; 130 after an interrupt."""
    guard_output()
    raise_at_interrupts()
    collect_again()
    with interrupts_end_the_program("interrupted: repeat the same command."):
        sys.exit(main(arguments))


@contextmanager
def interrupts_end_the_program(sentence: str) -> Iterator[None]:
    """Turn an interrupt into one line and exit code 130. After the block, Ctrl-C ends the program at once."""
    try:
        yield
    except BaseException as error:
        if not is_interrupt(error):
            raise
        _end_silently_at_interrupts()
        logging.disable()  # torch logs statistics at the end of a program
        warn_lines(f"\n{sentence}")
        sys.exit(INTERRUPTED)
    finally:
        _end_silently_at_interrupts()


def is_interrupt(error: BaseException | None) -> bool:
    """True for a KeyboardInterrupt, and for an error that code raised while it cleaned up after one."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or is_interrupt(error.__context__))


def _end_silently_at_interrupts() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def guard_output() -> None:
    """End the program if the standard output cannot be written; ignore write errors of the standard error.

    If the reader has gone, the program ends silently with exit code 141, as other programs do; if the disk is full, it
    prints a sentence and ends with exit code 1.
    """
    atexit.register(_flush)
    for number, name, failed in ((1, "stdout", _stop), (2, "stderr", lambda _: None)):
        stream = getattr(sys, name)
        if stream is None:  # the descriptor is closed, and the next file that is opened must not take its place
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):
            raw = io.BufferedWriter(_Guarded(number, failed))
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True))


class _Guarded(io.FileIO):
    """A descriptor whose errors are handled in one place.

    Args:
        number: of the descriptor.
        failed: called with the error of a write, whose data are dropped.
    """

    def __init__(self, number: int, failed: Callable[[OSError], None]) -> None:
        super().__init__(number, "w", closefd=False)
        self._failed = failed

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            self._failed(error)
            return memoryview(data).nbytes


def _stop(error: OSError) -> NoReturn:
    """End the program; what is still to be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if error.errno == errno.EPIPE:
        raise SystemExit(128 + signal.SIGPIPE)
    warn(
        f"error: the output cannot be written ({error.strerror}): make room or choose another place, and repeat the "
        "command."
    )
    raise SystemExit(1)


def _flush() -> None:
    """Write what is left at the end of the program, where an exception would not change its exit code."""
    try:
        sys.stdout.flush()
    except ValueError:  # it is closed
        return
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(str(end.code)))

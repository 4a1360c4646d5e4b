"""What a command does before its slow imports: an interrupt ends it with one line instead of a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import pairwise
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT  # exit code


def end_at_interrupts() -> None:
    """Let Ctrl-C end the program at once, until `raise_at_interrupts`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_module_command() -> bool:
    """True in a process that was started as `python -m nlhf.NAME`."""
    return any(word == "-m" and name.startswith("nlhf.") for word, name in pairwise(sys.orig_argv))


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (shape of a handler)
    os.write(2, b"\ninterrupted: repeat the same command.\n")
    os._exit(INTERRUPTED)

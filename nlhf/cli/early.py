"""Before a command's slow imports: its process is prepared, and an interrupt ends it with one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import FrameType

from nlhf.garbage import postpone_collections

INTERRUPTED = 128 + signal.SIGINT  # exit code


def prepare() -> None:
    """Set up the process of a command, before it imports NumPy and torch."""
    end_at_interrupts()
    postpone_collections()


def end_at_interrupts() -> None:
    """Let Ctrl-C end the program at once, until `raise_at_interrupts`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_command() -> bool:
    """True in a process that was started as `nlhf`, `python -m nlhf` or `python -m nlhf.NAME`.

    Worker processes of multiprocessing copy `sys.argv` from the command but have an `orig_argv` of their own.
    """
    module = any(word == "-m" and name.split(".")[0] == "nlhf" for word, name in pairwise(sys.orig_argv))
    return module or any(Path(word).name == "nlhf" for word in sys.argv[:1] if word in sys.orig_argv)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of a handler)
    os.write(2, b"\ninterrupted: repeat the same command.\n")
    os._exit(INTERRUPTED)

"""Stopping by signal: the first INT, TERM or USR1 ends the iteration behind a checkpoint, a second INT ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers the first signal; calling it asks whether there was one."""

    received: signal.Signals | None = None

    def __call__(self) -> bool:
        return self.received is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler; a second INT raises KeyboardInterrupt."""
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Handle the signals inside the block, where handlers are ours to set: in a main thread, and not under submitit,
    which has its own."""
    request = StopRequest()
    ours = threading.current_thread() is threading.main_thread() and "SUBMITIT_EXECUTOR" not in os.environ
    before = {number: signal.signal(number, request.handle) for number in SIGNALS if ours}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Stopping by signal: the first INT, TERM or USR1 stops after the iteration and a checkpoint, a second INT at once.

Under submitit, SLURM's signal announces a preemption or the time limit. Submitit's handler, which requeues the job and
exits, runs after the checkpoint.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers the first signal; a call returns True if there was one."""

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
    """Handle the signals inside the block if this is the main thread; other threads cannot set handlers."""
    request, in_submitit = StopRequest(), "SUBMITIT_EXECUTOR" in os.environ
    signals = (preemption_signal(),) if in_submitit else SIGNALS
    main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, request.handle) for number in signals if main_thread}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if in_submitit and request.received and callable(handler := before[request.received]):
        try:
            handler(request.received, None)
        except Exception as refusal:  # no requeue is left: the task ends before its next run
            raise SystemExit(f"{refusal} Repeat the command to go on.") from refusal


def preemption_signal() -> signal.Signals:
    """The signal that submitit waits for: USR2, or the value of its environment variable."""
    return signal.Signals["SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2").removeprefix("SIG")]

"""Stopping by signal: the first INT, TERM or USR1 ends the iteration behind a checkpoint, a second INT ends at once.

Under submitit it is the signal with which SLURM announces a preemption or the time limit. Submitit's own handler, which
requeues the job and exits, is called once the checkpoint is written.
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
    """Handle the signals inside the block, where handlers are ours to set: in a main thread."""
    request, within = StopRequest(), "SUBMITIT_EXECUTOR" in os.environ
    signals = (_preemption(),) if within else SIGNALS
    ours = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, request.handle) for number in signals if ours}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if within and request.received and callable(handler := before[request.received]):
        try:
            handler(request.received, None)
        except Exception as refusal:  # out of time for good: the task ends, and does not begin its next run
            raise SystemExit(f"{refusal} Repeat the command to go on.") from refusal


def _preemption() -> signal.Signals:
    """The signal that submitit waits for, USR2 unless its environment variable says otherwise."""
    return signal.Signals["SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2").removeprefix("SIG")]

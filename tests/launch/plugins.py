"""Algorithms that misbehave, for `algorithm._target_=tests.launch.plugins.NAME`."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from nlhf.algorithms.nash_mp import NashMP


def told_to_stop() -> bool:
    """Has a signal come that the run takes?"""
    takers = [getattr(signal.getsignal(number), "__self__", None) for number in (signal.SIGTERM, signal.SIGUSR1)]
    return any(getattr(taker, "received", None) for taker in takers)


def no_worker(*_: Any) -> None:
    """A worker that ends before it can work."""
    os._exit(3)


@dataclass(frozen=True)
class Slow(NashMP):
    """A millisecond an iteration; at so many queries as STAND_AT says it stands until its run is told to stop."""

    def update(self, state: Any, prox: Any) -> Any:
        time.sleep(1e-3)
        while str(prox.queries.max()) == os.environ.get("STAND_AT") and not told_to_stop():
            time.sleep(1e-3)
        return super().update(state, prox)


@dataclass(frozen=True)
class Deadly(NashMP):
    """Kills its process, as the kernel does where memory is short."""

    def update(self, state: Any, prox: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().update(state, prox)


@dataclass(frozen=True)
class Failing(NashMP):
    """Fails at once where beta is below 0.1."""

    def update(self, state: Any, prox: Any) -> Any:
        if float(prox.beta.min()) < 0.1:
            raise ArithmeticError("beta is\nbelow 0.1")
        return super().update(state, prox)


@dataclass(frozen=True)
class Stuck(NashMP):
    """Does not come back from the iteration at as many queries as STUCK_AT says."""

    def update(self, state: Any, prox: Any) -> Any:
        if str(prox.queries.max()) == os.environ.get("STUCK_AT"):
            # One write: `print` makes two where Python is unbuffered, and two workers would mix up their lines.
            os.write(2, b"stuck\n")
            while not told_to_stop():
                time.sleep(1e-3)
            os.write(2, b"told to stop\n")
            time.sleep(1000)
        return super().update(state, prox)

"""Algorithms that misbehave, for `algorithm._target_=tests.launch.plugins.NAME`."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from nlhf.algorithms.nash_mp import NashMP


@dataclass(frozen=True)
class Slow(NashMP):
    """A millisecond an iteration."""

    def update(self, state: Any, prox: Any) -> Any:
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
    """Does not come back from its fifth iteration."""

    def update(self, state: Any, prox: Any) -> Any:
        if prox.queries.max() >= 10:
            time.sleep(1000)
        return super().update(state, prox)

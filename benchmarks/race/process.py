"""One contestant on one game, in a process of its own, which a timer ends if it does not come back in time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.race.contestants import Contestant
from benchmarks.race.game import Game, tournament

REPETITIONS, ENOUGH = 5, 2.0  # no further repetition after so many seconds, or after a miss
SLACK = 1.1  # a process is killed after this multiple of the limit


@dataclass(frozen=True)
class Outcome:
    """Of one contestant on one game.

    Args:
        seconds: to each target that was reached.
        missed: the targets that were not.
        best: the smallest exploitability, infinite if there was no policy.
        reason: for the misses.
    """

    seconds: dict[float, float]
    missed: tuple[float, ...]
    best: float
    reason: str

    def within(self, factor: float) -> tuple[float, ...]:
        """The targets that were reached, or missed by less than a factor."""
        return tuple(self.seconds) + tuple(target for target in self.missed if self.best < factor * target)

    def cell(self, target: float) -> str:
        """Of a table."""
        if target in self.seconds:
            return f"{self.seconds[target]:.2g} s"
        if target not in self.missed:
            return "-"
        return self.reason + (f" (reached {self.best:.0e})" if np.isfinite(self.best) else "")


def race(contestant: Contestant, game: Game, targets: Sequence[float]) -> Outcome:
    """The outcome for the targets; the child process sends every look, and None after a repetition."""
    if not targets:
        return Outcome({}, (), np.inf, "")
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=repeat, args=(contestant, game, targets, sending))
    process.start()
    sending.close()
    runs: list[list[tuple[float, float]]] = [[]]
    with suppress(EOFError):
        while True:
            look = receiving.recv()
            runs.append([]) if look is None else runs[-1].append(look)
    process.join()
    looks = [look for run in runs for look in run]
    timely = [look for look in looks if look[0] <= game.seconds]
    reached = {target: min(clock for clock, value in timely if value <= target)
               for target in targets if any(value <= target for _, value in timely)}  # fmt: skip
    late = contestant.loop or process.exitcode == -signal.SIGALRM or any(clock > game.seconds for clock, _ in looks)
    failed = process.exitcode not in (0, -signal.SIGALRM)
    reason = f"failed, exit code {process.exitcode}" if failed else f"> {game.seconds:g} s" if late else "never"
    best = min((value for _, value in looks), default=np.inf)
    return Outcome(reached, tuple(target for target in targets if target not in reached), best, reason)


def repeat(contestant: Contestant, game: Game, targets: Sequence[float], sending: Connection) -> None:
    """Solve a small game first, then this game several times; the kernel ends what does not come back in time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # HiGHS greets
    small = Game(tournament(5), game.beta, 0.1)
    solve(contestant, small, targets)
    started = time.perf_counter()
    for _ in range(REPETITIONS):
        best = solve(contestant, game, targets, sending)
        sending.send(None)
        if best > min(targets) or time.perf_counter() - started > ENOUGH:
            break


def solve(contestant: Contestant, game: Game, targets: Sequence[float], sending: Connection | None = None) -> float:
    """Look until the last target is reached, the time is up, or the pace shows that it will be; the best value."""
    looks: list[tuple[float, float]] = []
    policies = contestant.looks(game)
    while True:
        signal.setitimer(signal.ITIMER_REAL, SLACK * game.seconds if sending else 0)
        entry = next(policies, None)
        if entry is None:
            break
        clock, value = entry[0], game.exploitability(entry[1])
        looks.append((clock, min(value, looks[-1][1]) if looks else value))
        if sending:
            sending.send((clock, value))
        late = contestant.loop and hopeless(looks, targets, game.seconds)
        if value <= min(targets) or clock > game.seconds or late:
            break
    signal.setitimer(signal.ITIMER_REAL, 0)
    return looks[-1][1] if looks else np.inf


def hopeless(looks: list[tuple[float, float]], targets: Sequence[float], limit: float) -> bool:
    """Whether twice the pace of the last sixth of the limit would miss the next target."""
    (clock, best), window = looks[-1], limit / 6
    earlier = [value for moment, value in looks[-2000:] if moment <= clock - window]
    if not earlier or not best < np.inf:
        return False
    projected = best * (best / earlier[-1]) ** (2 * (limit - clock) / window)
    return bool(projected > max((target for target in targets if target < best), default=0.0))

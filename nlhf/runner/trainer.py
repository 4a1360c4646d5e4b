"""The training loop: budget, schedule, clock, checkpoint, stop. It is the same for all parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.algorithms.base import Algorithm
from nlhf.budget import Budget, Progress, spent
from nlhf.equilibria.metrics import Grades
from nlhf.policies.average import Average
from nlhf.policies.base import TrainablePolicy, at_work
from nlhf.policies.select import choose
from nlhf.prox.engine import ProxEngine
from nlhf.runner.recorder import DivergedError, Recorder, Tick, no_tick


@dataclass
class Trainer:
    """Runs one batch of seeds.

    Args:
        algorithm: bound to a tensor of beta (S, 1, 1).
        prox: solves its proximal problems.
        policy: the initial policy.
        average: averages the policies so far.
        measure: computes the columns of a row.
        budget: decides when a seed stops.
        recorder: stores rows and checkpoints.
        interrupted: ends the loop if it returns True after an iteration.
        tick: called after every iteration with the progress and the columns of the last row, which list all seeds.
        checkpoint_seconds: the shortest time between two checkpoints.
    """

    algorithm: Algorithm
    prox: ProxEngine
    policy: TrainablePolicy
    average: Average
    measure: Grades
    budget: Budget
    recorder: Recorder
    interrupted: Callable[[], bool] = lambda: False
    tick: Tick = no_tick
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        seeds = len(self.prox.beta)
        self.prox.rate, self.prox.limits_steps = self.algorithm.target_rate, not self.algorithm.paces_itself
        self.state = self.algorithm.init(self.policy)
        self.schedule = self.algorithm.schedule or self.measure.schedule
        self.kl_0 = self.measure.initial_kl(self.policy)[:, None, None]
        self.progress = Progress.none(seeds)
        self.next_row = np.zeros(seeds, np.int64)
        self.last_row: dict[str, list[float]] = {}

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.state, self.average.total = at_work(content["state"], self.policy), content["total"]
        self.progress = Progress.from_json(content["progress"])
        self.next_row = np.array(content["next_row"])
        self.prox.restore(content["prox"])
        self.measure.restore(content["measure"])

    def run(self) -> bool:
        """Train until every seed has reached a limit (returns True) or an interruption (returns False).

        Raises: DivergedError at a row that is not finite; the last checkpoint is older than that row.
        """
        saved = time.monotonic()
        while True:
            self.prox.iterations = self.progress.iterations
            due = self.next_row == self.progress.iterations
            if due.any():
                self._record(due)
                self.next_row[due] = [self.schedule.following(k) for k in self.progress.iterations[due]]
            self.prox.active = ~spent(self.budget, self.progress)
            finished = not self.prox.active.any()
            if finished or self.interrupted():
                break
            overdue = time.monotonic() - saved > self.checkpoint_seconds
            if overdue and (due.any() or self.state.policy.sound):  # recording a row also checks it for NaN
                self._checkpoint()
                saved = time.monotonic()
            self._iterate()
            self.tick(self.progress, self.last_row)
        measure = self.measure.snapshot()  # without the unscheduled rows, which a resumed run drops
        self._record(~np.array([self.schedule.includes(k) for k in self.progress.iterations]), scheduled=False)
        self._checkpoint(measure)
        return finished

    def _iterate(self) -> None:
        started, active = time.perf_counter(), self.prox.active
        self.prox.current = self.state.policy
        state = self.algorithm.update(self.state, self.prox)
        mask = self.prox.mask
        self.average.add(self.state.policy, self.progress.log_weight(self.algorithm.averaging, active), mask)
        if mask is not None:
            state = choose(mask, state, self.state, lambda new, old: self.prox.select(mask, new, old))
        self.state = state
        self.progress.iterations += active
        self.progress.queries = self.prox.queries
        self.progress.seconds += time.perf_counter() - started

    def _record(self, seeds: np.ndarray, scheduled: bool = True) -> None:
        """Measure, and record a row for each seed in the mask `seeds` (S)."""
        self.progress.seconds += self.prox.wait()
        beta = self.prox.beta
        iteration = beta.new_tensor(self.progress.iterations)[:, None, None]
        columns = self.measure(self.state.policy, self.average.of(self.state.policy, iteration))
        columns |= self.algorithm.measured(self.state, self.prox)
        columns["step_size"] = self.algorithm.step_taken(self.state, self.prox)[:, 0, 0] / self.measure.unit
        bound = self.algorithm.kl_bound(self.state, iteration, self.prox.strength, self.kl_0)
        columns["kl_bound"] = self.measure.promised(bound)[:, 0, 0]
        listed = {name: value.tolist() for name, value in columns.items()}
        self.last_row = listed | {"seconds": [self.progress.seconds]}
        for seed in np.flatnonzero(seeds).tolist():
            values = {name: value[seed] for name, value in listed.items()}
            self.recorder.row(seed, values | self.progress.of(seed), self.state.policy)
            if not np.isfinite(watched := values[self.measure.watched]):
                raise DivergedError(f"the {self.measure.watched} of seed number {seed} is {watched}")
            if scheduled and "exploitability" in values:
                self.progress.best[seed] = min(self.progress.best[seed], values["exploitability"])

    def _checkpoint(self, measure: dict[str, Any] | None = None) -> None:
        self.recorder.checkpoint(
            {"state": self.state, "total": self.average.total, "progress": self.progress.to_json(),
             "next_row": self.next_row.tolist(), "prox": self.prox.snapshot(),
             "measure": self.measure.snapshot() if measure is None else measure}
        )  # fmt: skip

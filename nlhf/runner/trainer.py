"""The one loop: budget, schedule, clock, checkpoint, stop. It never asks what kind of part it holds."""

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
from nlhf.records import DivergedError, Recorder


@dataclass
class Trainer:
    """Runs one batch of seeds.

    Args:
        algorithm, prox, policy: what is run, bound to tensors of beta (S, 1, 1), and where it starts.
        average: of the policies so far.
        measure, recorder: give the columns of a row; take rows and checkpoints, every checkpoint_seconds or later.
        budget, interrupted: end a seed; end the loop, asked after every iteration.
        tick: called with the progress after every iteration.
    """

    algorithm: Algorithm
    prox: ProxEngine
    policy: TrainablePolicy
    average: Average
    measure: Grades
    budget: Budget
    recorder: Recorder
    interrupted: Callable[[], bool] = lambda: False
    tick: Callable[[Progress], None] = lambda _: None
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        seeds = len(self.prox.beta)
        self.prox.rate = self.algorithm.target_rate
        self.state = self.algorithm.init(self.policy)
        self.kl_0 = self.measure.initial_kl(self.policy)[:, None, None]
        self.progress = Progress.none(seeds)
        self.next_row = np.zeros(seeds, np.int64)

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.state, self.average.total = at_work(content["state"], self.policy), content["total"]
        self.progress = Progress.from_json(content["progress"])
        self.next_row = np.array(content["next_row"])
        self.prox.restore(content["prox"])
        self.measure.restore(content["measure"])

    def run(self) -> bool:
        """Until every seed has reached a limit (True), or an interruption (False).

        Raises: DivergedError where a row is not finite; the row is kept, and the last checkpoint is older."""
        saved = time.monotonic()
        while True:
            self.prox.iterations = self.progress.iterations
            due = self.next_row == self.progress.iterations
            if due.any():
                self._record(due)
                self.next_row[due] = [self.measure.schedule.following(k) for k in self.progress.iterations[due]]
            self.prox.active = ~spent(self.budget, self.progress)
            finished = not self.prox.active.any()
            if finished or self.interrupted():
                break
            overdue = time.monotonic() - saved > self.checkpoint_seconds
            if overdue and (due.any() or self.state.policy.sound):  # a row is looked at as it is recorded
                self._checkpoint()
                saved = time.monotonic()
            self._iterate()
            self.tick(self.progress)
        measure = self.measure.snapshot()  # a resumed run drops the unscheduled rows, so they are not counted
        self._record(~np.array([self.measure.schedule.includes(k) for k in self.progress.iterations]), scheduled=False)
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
        """Measure, and record a row for each of `seeds` (S) bool."""
        self.progress.seconds += self.prox.wait()
        beta = self.prox.beta
        iteration = beta.new_tensor(self.progress.iterations)[:, None, None]
        columns = self.measure(self.state.policy, self.average.of(self.state.policy, iteration))
        columns["step_size"] = self.algorithm.step_taken(self.state, self.prox)[:, 0, 0]
        bound = self.algorithm.kl_bound(self.state, iteration, beta, self.kl_0)
        columns["kl_bound"] = self.measure.promised(bound)[:, 0, 0]
        listed = {name: value.tolist() for name, value in columns.items()}
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

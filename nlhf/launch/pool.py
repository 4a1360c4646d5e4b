"""One machine: workers that import torch once and take runs from a queue, the longest first.

A worker that dies (killed, out of memory) is replaced, and its run is queued again: it goes on from its checkpoint.
Workers share the cores, so that their torch threads do not compete for cores.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

from nlhf.config import ConfigError
from nlhf.launch import status
from nlhf.launch.batch import batches
from nlhf.launch.job import Job
from nlhf.launch.sweep import SweepRecord
from nlhf.launch.worker import warm
from nlhf.launch.workers import Lost, Workers
from nlhf.numerics.threads import cores
from nlhf.runner.outcome import Ended
from nlhf.runner.run_one import COMMAND_ERRORS
from nlhf.runner.session import fail
from nlhf.runner.stop import stop_on_signal
from nlhf.terminal import say, warn

REPORT_EVERY, REPORT_SHARE = 10.0, 0.05  # between two reports of progress: seconds, and part of the time so far


class Pool:
    """Runs jobs in workers until all are done.

    Args:
        jobs: in any order; jobs of the same run are done one after the other.
        workers: how many, or None for one per core.
        threads: threads of torch in each worker, or None for cores / workers.
        deaths: how often a run may end its worker, and how many starts of workers in a row may fail.
        record: the record of the sweep.

    Raises: ConfigError for an option that is out of range.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        workers: int | None,
        threads: int | None,
        deaths: int,
        record: SweepRecord | None = None,
    ) -> None:
        for key, value in (("workers", workers), ("threads", threads), ("deaths", deaths)):
            default = value is None and key != "deaths"
            if not default and (type(value) is not int or value < 1):
                raise ConfigError(f"hydra.launcher.{key}={value} is out of range: give a whole number >= 1.")
        count = min(workers or cores(), max(len(jobs), 1))
        self.workers = Workers(count, threads or max(1, cores() // count), deaths)
        self.jobs, self.record = jobs, record or SweepRecord()
        self.queue = sorted(batches(jobs, count), key=_weight, reverse=True)
        self.deaths, self.ended = Counter[str](), dict[int, Ended]()
        self.stopping, self.signal, self.shown = False, 0, dict[str, str]()
        self.started = self.reported = time.monotonic()

    def run(self) -> list[float]:
        """log10 of the final exploitability of every job, in their order; inf if there is none.

        Raises: NoWorkerError if no worker can start.
        """
        warm()
        with stop_on_signal() as stop:
            try:
                while self.queue or self.workers.busy():
                    if stop() and not self.signal:
                        self.signal = int(stop.received or 0)
                        self._stop()
                    self._hand_out()
                    self._listen()
            finally:
                self.workers.close()
        return [self.ended[id(job)].value if id(job) in self.ended else math.inf for job in self.jobs]

    def _stop(self) -> None:
        """Let every worker write a checkpoint, and start no further batch."""
        self.stopping = True
        self.queue.clear()
        self.workers.stop()

    def _hand_out(self) -> None:
        """Give batches to workers; the jobs of one run never run at the same time."""
        while len(busy := self.workers.busy()) < self.workers.count:
            taken = {job.run.folder for worker in busy for job in worker.batch}
            batch = next((batch for batch in self.queue if taken.isdisjoint(job.run.folder for job in batch)), None)
            if batch is None:
                return
            if self.workers.take(batch):
                self.queue.remove(batch)

    def _listen(self) -> None:
        """Wait up to a second for results of busy workers."""
        running = [job for worker in self.workers.busy() for job in worker.batch]
        for batch, results in self.workers.returned():
            if isinstance(results, Lost):
                self._retry(batch, results)
                continue
            for job, ended in zip(batch, results, strict=True):
                self._note(job, ended)
        self._report(running)

    def _retry(self, batch: Sequence[Job], lost: Lost) -> None:
        """Queue the runs of a dead worker again, each by itself; a run that ended too many workers fails."""
        if not lost.started and not self.stopping:
            self.queue.append(list(batch))
            return
        for job in batch:
            self.deaths[job.run.name] += 1
            if self.stopping:
                self._note(job, Ended(job.run.name, "interrupted"))
            elif self.deaths[job.run.name] < self.workers.deaths:
                self.queue.append([job])
            else:
                exit_code = f"exit code {lost.exit_code}"
                message = (
                    f"its worker died {self.workers.deaths} times ({exit_code}): memory may be short, use fewer workers"
                )
                self._note(job, _failed(job, message))

    def _note(self, job: Job, ended: Ended) -> None:
        self.ended[id(job)] = ended
        self.record.note(job.run.name, ended.state, ended.message, job.budget, job.run.folder.parent)
        say(f"[{len(self.ended)}/{len(self.jobs)}] {job.run.name}  {ended.state}  {ended.message}")
        if ended.state == "failed" and job.run.options.fail_fast and not self.stopping:
            self._stop()

    def _report(self, running: Sequence[Job]) -> None:
        """Print the new rows of running runs, and how many runs are done; rarer the longer the sweep takes."""
        now = time.monotonic()
        if now - self.reported < max(REPORT_EVERY, REPORT_SHARE * (now - self.started)):
            return
        self.reported = now
        states = {id(job): status.running(job.run.folder) for job in running if job.run.options.progress}
        for state in states.values():
            if state.result and self.shown.get(state.name) != (line := status.in_words(state)):
                self.shown[state.name] = line
                warn(line)
        shares = [float(id(job) in self.ended) or _share(states.get(id(job))) for job in self.jobs]
        spent = sum(job.weight * share for job, share in zip(self.jobs, shares, strict=True))
        estimate = f", about {(now - self.started) * (_weight(self.jobs) / spent - 1):.0f} s left" if spent else ""
        failed = sum(ended.state == "failed" for ended in self.ended.values())
        warn(f"{len(self.ended)} done, {len(running)} running, {failed} failed{estimate}")


def _share(state: status.RunState | None) -> float:
    """The part of its budget that a running run has spent, 0 if it is not known."""
    return state.share or 0.0 if state else 0.0


def _weight(batch: Sequence[Job]) -> float:
    return sum(job.weight for job in batch)


def _failed(job: Job, message: str) -> Ended:
    """Record the failure of a run whose own process could not record it."""
    try:
        fail(job.run, RuntimeError(message))
    except COMMAND_ERRORS as problem:
        message += f"; {problem}"
    return Ended(job.run.name, "failed", message=message)

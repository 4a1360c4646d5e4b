"""One machine: workers that import torch once and take runs from a queue, the longest first.

A worker that dies (killed, out of memory) is replaced, and its run is queued again: it goes on from its checkpoint.
Workers share the cores, so that their torch threads do not compete for cores.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from nlhf.config import ConfigError
from nlhf.launch.batch import batches
from nlhf.launch.job import Job
from nlhf.launch.sweep import SweepRecord
from nlhf.launch.worker import Worker, warm
from nlhf.runner.outcome import Ended
from nlhf.runner.run_one import COMMAND_ERRORS
from nlhf.runner.session import fail
from nlhf.runner.stop import stop_on_signal
from nlhf.terminal import say, warn

REPORT_EVERY = 10.0  # seconds between two reports of progress


class Pool:
    """Runs jobs in workers until all are done.

    Args:
        jobs: in any order; jobs of the same run are done one after the other.
        workers: how many, or None for one per core.
        threads: threads of torch in each worker, or None for cores / workers.
        deaths: how often a run may end its worker.
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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = min(workers or cores, max(len(jobs), 1))
        self.threads, self.most_deaths = threads or max(1, cores // self.count), deaths
        self.jobs, self.record = jobs, record or SweepRecord()
        self.queue = sorted(batches(jobs, self.count), key=_weight, reverse=True)
        self.workers: list[Worker] = []
        self.deaths, self.ended = Counter[str](), dict[int, Ended]()
        self.stopping, self.signal = False, 0
        self.started = self.reported = time.monotonic()

    def run(self) -> list[float]:
        """log10 of the final exploitability of every job, in their order; inf if there is none."""
        warm()
        with stop_on_signal() as stop:
            try:
                while self.queue or self._busy():
                    if stop() and not self.signal:
                        self.signal = int(stop.received or 0)
                        self._stop()
                    self._hand_out()
                    self._listen()
            finally:
                for worker in self.workers:
                    worker.pipe.close()  # an idle worker ends when its pipe closes
                    if worker.batch:
                        worker.process.kill()
                    worker.process.join()
        return [self.ended[id(job)].value if id(job) in self.ended else math.inf for job in self.jobs]

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.batch]

    def _stop(self) -> None:
        """Let every worker write a checkpoint, and start no further batch."""
        self.stopping = True
        self.queue.clear()
        for worker in self._busy():
            worker.process.terminate()

    def _hand_out(self) -> None:
        """Give batches to idle workers, and start missing workers."""
        while len(busy := self._busy()) < self.count:
            taken = {job.run.folder for worker in busy for job in worker.batch}
            batch = next((batch for batch in self.queue if taken.isdisjoint(job.run.folder for job in batch)), None)
            if batch is None:
                return
            idle = next((worker for worker in self.workers if not worker.batch), None)
            if idle is None:
                self.workers.append(idle := Worker.start(self.threads))
            try:
                idle.pipe.send([job.task for job in batch])
            except OSError:  # it died while it was idle, or when it started
                self.workers.remove(idle)
                continue
            idle.batch = batch
            self.queue.remove(batch)

    def _listen(self) -> None:
        """Wait up to a second for results of busy workers."""
        busy = {worker.pipe: worker for worker in self._busy()}
        running = sum(len(worker.batch) for worker in busy.values())
        for pipe in wait(list(busy), timeout=1.0):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            batch, worker.batch = worker.batch, ()
            try:
                results = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker, batch)
                continue
            for job, ended in zip(batch, results, strict=True):  # outside of `try`: an error of the output is different
                self._note(job, ended)
        self._report(running)

    def _bury(self, worker: Worker, batch: Sequence[Job]) -> None:
        """Remove a dead worker and queue its runs again, each by itself; a run that killed too many workers fails."""
        worker.process.join()
        self.workers.remove(worker)
        for job in batch:
            self.deaths[job.run.name] += 1
            if self.stopping:
                self._note(job, Ended(job.run.name, "interrupted"))
            elif self.deaths[job.run.name] < self.most_deaths:
                self.queue.append([job])
            else:
                exit_code = f"exit code {worker.process.exitcode}"
                message = (
                    f"its worker died {self.most_deaths} times ({exit_code}): memory may be short, use fewer workers"
                )
                self._note(job, _failed(job, message))

    def _note(self, job: Job, ended: Ended) -> None:
        self.ended[id(job)] = ended
        self.record.note(job.run.name, ended.state, ended.message, job.budget, job.run.folder.parent)
        say(f"[{len(self.ended)}/{len(self.jobs)}] {job.run.name}  {ended.state}  {ended.message}")
        if ended.state == "failed" and job.run.options.fail_fast and not self.stopping:
            self._stop()

    def _report(self, running: int) -> None:
        """Print the progress and the remaining time, at most every REPORT_EVERY seconds."""
        now = time.monotonic()
        if now - self.reported < REPORT_EVERY or not self.ended:
            return
        self.reported = now
        total = _weight(self.jobs)
        remaining = _weight([job for job in self.jobs if id(job) not in self.ended])
        seconds = (now - self.started) * remaining / max(total - remaining, 1e-9)
        failed = sum(ended.state == "failed" for ended in self.ended.values())
        warn(f"{len(self.ended)} done, {running} running, {failed} failed, about {seconds:.0f} s left")


def _weight(batch: Sequence[Job]) -> float:
    return sum(job.weight for job in batch)


def _failed(job: Job, message: str) -> Ended:
    """Record the failure of a run whose own process could not record it."""
    try:
        fail(job.run, RuntimeError(message))
    except COMMAND_ERRORS as problem:
        message += f"; {problem}"
    return Ended(job.run.name, "failed", message=message)

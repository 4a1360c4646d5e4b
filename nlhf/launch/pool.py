"""One machine: workers that import torch once and take runs from a queue, the longest first.

A worker that dies (killed, out of memory) is replaced, and its run is queued again: it goes on from its checkpoint.
Workers share the cores, so that threads of torch do not fight for them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from nlhf.config import ConfigError
from nlhf.launch import sweep
from nlhf.launch.stop import stop_on_signal
from nlhf.launch.sweep import Job

CONTEXT = multiprocessing.get_context("forkserver")
SAY_EVERY = 10.0  # seconds between two words on what is running


@dataclass
class Worker:
    """A process, our end of its pipe, and the job that it works on."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None

    @classmethod
    def start(cls, threads: int) -> Worker:
        """A new process that waits for a job."""
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work, args=(theirs, threads), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)


class Pool:
    """Runs jobs in workers until all are done.

    Args:
        jobs: in any order.
        workers: how many, or None for one per core; threads: of torch in each, or None for cores/workers.
        deaths: how often a run may take its worker with it.

    Raises: ConfigError for an option that is out of range.
    """

    def __init__(self, jobs: Sequence[Job], workers: int | None, threads: int | None, deaths: int) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for key, value in (("workers", workers), ("threads", threads), ("deaths", deaths)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"hydra.launcher.{key}={value} is out of range: give a whole number >= 1.")
        self.jobs, self.deaths = jobs, Counter[str]()
        self.count = min(workers or cores, max(len(jobs), 1))
        self.threads, self.most_deaths = threads or max(1, cores // self.count), deaths
        self.queue = deque(sorted(jobs, key=lambda job: -job.weight))
        self.values: dict[str, float | None] = {}
        self.states: Counter[str] = Counter()
        self.signal, self.said, self.started = 0, 0.0, time.monotonic()

    def run(self) -> list[float | None]:
        """log10 of the final exploitability of every job, in their order; None where there is none."""
        CONTEXT.set_forkserver_preload(["nlhf.launch.preload"])
        workers: list[Worker] = []
        with stop_on_signal() as stop:
            try:
                while self.queue or any(worker.job for worker in workers):
                    if stop() and not self.signal:
                        self._stop(workers, stop.received or 0)
                    self._hand_out(workers)
                    self._listen(workers)
            finally:
                for worker in workers:
                    worker.pipe.close()  # an idle worker ends at the end of its pipe
                    if worker.job:
                        worker.process.kill()
                    worker.process.join()
        return [self.values.get(job.run.name) for job in self.jobs]

    def _stop(self, workers: Sequence[Worker], received: int) -> None:
        """Let every worker write a checkpoint; start nothing more."""
        self.signal = int(received)
        self.queue.clear()
        for worker in workers:
            if worker.job and worker.process.is_alive():
                worker.process.terminate()

    def _hand_out(self, workers: list[Worker]) -> None:
        while self.queue and sum(worker.job is not None for worker in workers) < self.count:
            idle = next((worker for worker in workers if not worker.job), None)
            if idle is None:
                workers.append(idle := Worker.start(self.threads))
            idle.job = self.queue.popleft()
            try:
                idle.pipe.send((idle.job.config, idle.job.overrides))
            except OSError:  # it died while it was idle
                self.queue.appendleft(idle.job)
                workers.remove(idle)

    def _listen(self, workers: list[Worker]) -> None:
        busy = {worker.pipe: worker for worker in workers if worker.job}
        for pipe in wait(list(busy), timeout=1.0):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.job
            try:
                state, value, words = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
                workers.remove(worker)
                continue
            self._note(worker.job, state, value, words)
            worker.job = None
        self._say(len(busy))

    def _bury(self, worker: Worker) -> None:
        """A worker died: its run is queued again, unless it has done so too often."""
        worker.process.join()
        job = worker.job
        assert job
        self.deaths[job.run.name] += 1
        if self.signal:
            self._note(job, "interrupted", None, "")
        elif self.deaths[job.run.name] < self.most_deaths:
            self.queue.append(job)
        else:
            how = f"exit code {worker.process.exitcode}"
            words = f"its worker died {self.most_deaths} times ({how}): memory may be short, use fewer workers"
            self._note(job, "failed", None, words)

    def _note(self, job: Job, state: str, value: float | None, words: str) -> None:
        self.values[job.run.name] = value
        self.states[state] += 1
        sweep.note(job.run.name, state)
        print(f"[{self.states.total()}/{len(self.jobs)}] {job.run.name}  {state}  {words}", flush=True)
        if state == "failed" and job.run.options.fail_fast:
            self.queue.clear()

    def _say(self, running: int) -> None:
        """How far we are, now and then, where somebody may be looking."""
        now = time.monotonic()
        if now - self.said < SAY_EVERY or not (done := self.states.total()):
            return
        self.said = now
        weight = sum(job.weight for job in self.jobs)
        left = weight - sum(job.weight for job in self.jobs if job.run.name in self.values)
        remaining = (now - self.started) * left / max(weight - left, 1e-9)
        print(f"{done} done, {running} running, {self.states['failed']} failed, about {remaining:.0f} s left",
              file=sys.stderr, flush=True)  # fmt: skip


def work(pipe: Connection, threads: int) -> None:
    """A worker: takes (config, overrides) and gives (state, value, words) until its pipe ends."""
    import torch

    from nlhf.console import result

    torch.set_num_threads(threads)
    while True:
        try:
            config, overrides = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        answer = attempt(config, overrides, result)
        try:
            pipe.send(answer)
        except OSError:  # nobody waits any more
            return


def attempt(config: dict[str, Any], overrides: Sequence[str], words: Any) -> tuple[str, float | None, str]:
    """One run: what became of it, log10 of its exploitability, and a few words; never raises for the run's own sake."""
    from nlhf.launch.lock import BusyError
    from nlhf.launch.run import WriteError, run_one

    try:
        outcome = run_one(config, overrides=overrides)
    except (ConfigError, BusyError) as problem:
        return "refused", None, str(problem)
    except WriteError as problem:
        return "failed", None, str(problem)
    state = "skipped" if outcome.skipped else outcome.status
    return state, outcome.log10_exploitability, words(outcome.summary)

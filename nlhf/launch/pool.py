"""One machine: workers that import torch once and take runs from a queue, the longest first.

A worker that dies (killed, out of memory) is replaced, and its run is queued again: it goes on from its checkpoint.
Workers share the cores, so that threads of torch do not fight for them.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from nlhf.config import ConfigError
from nlhf.launch import sweep
from nlhf.launch.batch import attempt_all, packs
from nlhf.launch.sweep import Job
from nlhf.runner.outcome import Ended
from nlhf.runner.run_one import COMMAND_ERRORS
from nlhf.runner.session import fail
from nlhf.runner.stop import stop_on_signal
from nlhf.terminal import say, show_warnings, warn

CONTEXT = multiprocessing.get_context("forkserver")
SAY_EVERY = 10.0  # seconds between two words on what is running


@dataclass
class Worker:
    """A process, our end of its pipe, and the jobs that it works on."""

    process: BaseProcess
    pipe: Connection
    jobs: Sequence[Job] = ()

    @classmethod
    def start(cls, threads: int) -> Worker:
        """A new process that waits for jobs."""
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work, args=(theirs, threads), daemon=True)
        with _interrupts_blocked():  # it may have to start the fork server
            process.start()
        theirs.close()
        return cls(process, ours)


class Pool:
    """Runs jobs in workers until all are done.

    Args:
        jobs: in any order; those of one run are done one after the other.
        workers: how many, or None for one per core; threads: of torch in each, or None for cores/workers.
        deaths: how often a run may take its worker with it.

    Raises: ConfigError for an option that is out of range.
    """

    def __init__(self, jobs: Sequence[Job], workers: int | None, threads: int | None, deaths: int) -> None:
        for key, value in (("workers", workers), ("threads", threads), ("deaths", deaths)):
            default = value is None and key != "deaths"
            if not default and (type(value) is not int or value < 1):
                raise ConfigError(f"hydra.launcher.{key}={value} is out of range: give a whole number >= 1.")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = min(workers or cores, max(len(jobs), 1))
        self.threads, self.most_deaths = threads or max(1, cores // self.count), deaths
        self.jobs, self.queue = jobs, sorted(packs(jobs, self.count), key=_weight, reverse=True)
        self.workers: list[Worker] = []
        self.deaths, self.ended = Counter[str](), dict[int, Ended]()
        self.stopping, self.signal = False, 0
        self.started = self.said = time.monotonic()

    def run(self) -> list[float]:
        """log10 of the final exploitability of every job, in their order; inf where there is none."""
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
                    worker.pipe.close()  # an idle worker ends at the end of its pipe
                    if worker.jobs:
                        worker.process.kill()
                    worker.process.join()
        return [self.ended[id(job)].value if id(job) in self.ended else math.inf for job in self.jobs]

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.jobs]

    def _stop(self) -> None:
        """Let every worker write a checkpoint; start nothing more."""
        self.stopping = True
        self.queue.clear()
        for worker in self._busy():
            worker.process.terminate()

    def _hand_out(self) -> None:
        while len(busy := self._busy()) < self.count:
            taken = {job.run.folder for worker in busy for job in worker.jobs}
            pack = next((pack for pack in self.queue if taken.isdisjoint(job.run.folder for job in pack)), None)
            if pack is None:
                return
            idle = next((worker for worker in self.workers if not worker.jobs), None)
            if idle is None:
                self.workers.append(idle := Worker.start(self.threads))
            try:
                idle.pipe.send([job.task for job in pack])
            except OSError:  # it died while it was idle, or as it was born
                self.workers.remove(idle)
                continue
            idle.jobs = pack
            self.queue.remove(pack)

    def _listen(self) -> None:
        busy = {worker.pipe: worker for worker in self._busy()}
        running = sum(len(worker.jobs) for worker in busy.values())
        for pipe in wait(list(busy), timeout=1.0):
            worker = busy[pipe]  # type: ignore[index]
            pack, worker.jobs = worker.jobs, ()
            try:
                results = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker, pack)
                continue
            for job, ended in zip(pack, results, strict=True):  # an error of the output is no death of the worker
                self._note(job, ended)
        self._say(running)

    def _bury(self, worker: Worker, pack: Sequence[Job]) -> None:
        """A worker died: its runs are queued again, each by itself, unless they have done so too often."""
        worker.process.join()
        self.workers.remove(worker)
        for job in pack:
            self.deaths[job.run.name] += 1
            if self.stopping:
                self._note(job, Ended(job.run.name, "interrupted"))
            elif self.deaths[job.run.name] < self.most_deaths:
                self.queue.append([job])
            else:
                how = f"exit code {worker.process.exitcode}"
                words = f"its worker died {self.most_deaths} times ({how}): memory may be short, use fewer workers"
                self._note(job, _failed(job, words))

    def _note(self, job: Job, ended: Ended) -> None:
        self.ended[id(job)] = ended
        sweep.note(job.run.name, ended.state, ended.message, job.budget, job.run.folder.parent)
        say(f"[{len(self.ended)}/{len(self.jobs)}] {job.run.name}  {ended.state}  {ended.message}")
        if ended.state == "failed" and job.run.options.fail_fast and not self.stopping:
            self._stop()

    def _say(self, running: int) -> None:
        """How far we are, now and then, where somebody may be looking."""
        now = time.monotonic()
        if now - self.said < SAY_EVERY or not self.ended:
            return
        self.said = now
        weight, left = (sum(job.weight for job in jobs) for jobs in
                        (self.jobs, [job for job in self.jobs if id(job) not in self.ended]))  # fmt: skip
        remaining = (now - self.started) * left / max(weight - left, 1e-9)
        failed = sum(ended.state == "failed" for ended in self.ended.values())
        warn(f"{len(self.ended)} done, {running} running, {failed} failed, about {remaining:.0f} s left")


def warm() -> None:
    """Start the process that workers are forked from; it imports torch while others do something else."""
    CONTEXT.set_forkserver_preload(["nlhf.launch.preload"])
    with _interrupts_blocked():
        forkserver.ensure_running()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread; processes that are started within the block never get it.

    Ctrl-C reaches all processes of a terminal, and the pool alone decides what its workers do.
    """
    resource_tracker.ensure_running()  # whose start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe: Connection, threads: int) -> None:
    """A worker: takes lists of (config, overrides) and gives how each `Ended`, until its pipe ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # whoever started the fork server
    import torch

    show_warnings()
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    torch.set_num_threads(threads)
    while True:
        try:
            pipe.send(attempt_all(pipe.recv()))
        except (EOFError, OSError):  # nobody waits any more
            return


def _outlive_nobody() -> None:
    """When the pool is killed, its workers write a checkpoint and end."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _weight(pack: Sequence[Job]) -> float:
    return sum(job.weight for job in pack)


def _failed(job: Job, words: str) -> Ended:
    """Record the failure of a run that could not do so itself."""
    try:
        fail(job.run, RuntimeError(words))
    except COMMAND_ERRORS as problem:
        words += f"; {problem}"
    return Ended(job.run.name, "failed", message=words)

"""Worker processes of a pool: they import torch once, and compute the batches that they get through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from nlhf.io.files import unusable
from nlhf.io.sync import late_syncs
from nlhf.launch.batch import attempt_all
from nlhf.launch.job import Job
from nlhf.numerics.threads import set_threads
from nlhf.runner.outcome import Ended
from nlhf.runner.session import in_a_line
from nlhf.terminal import show_warnings, warn

CONTEXT = multiprocessing.get_context("forkserver")


class StartError(Exception):
    """A worker that cannot start; the message says why."""


@dataclass
class Worker:
    """A process, this process's end of the pipe to it, the batch that it works on, and whether it has started."""

    process: BaseProcess
    pipe: Connection
    batch: Sequence[Job] = ()
    ready: bool = False

    @classmethod
    def start(cls, threads: int) -> Worker:
        """A new process that waits for jobs.

        Raises: StartError if the system or the fork server refuses.
        """
        pipe, end_of_worker = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work, args=(end_of_worker, threads), daemon=True)
        try:
            with _interrupts_blocked():  # it may have to start the fork server
                process.start()
        except (OSError, EOFError) as error:
            pipe.close()
            raise StartError(in_a_line(error)) from error
        finally:
            end_of_worker.close()
        return cls(process, pipe)

    def receive(self) -> list[Ended] | None:
        """The next message: how the runs of its batch ended, or None once it is ready to work.

        Raises: EOFError or OSError if the worker has died, StartError if it could not start.
        """
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            if self.ready:
                raise
            raise StartError(f"exit code {self.process.exitcode}") from None
        if isinstance(message, StartError):
            self.process.join()
            raise message
        self.ready = True
        results: list[Ended] | None = message
        return results


def warm() -> None:
    """Start the process that workers are forked from, which imports torch in the background."""
    CONTEXT.set_forkserver_preload(["nlhf.launch.preload"])
    with suppress(OSError), _interrupts_blocked():  # the start of a worker meets the same error
        forkserver.ensure_running()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread; processes that start within the block never receive it.

    Ctrl-C reaches all processes of a terminal, but only the pool stops its workers.
    """
    resource_tracker.ensure_running()  # its start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe: Connection, threads: int) -> None:
    """The loop of a worker: read lists of (config, overrides) and send their `Ended`, until the pipe closes.

    The first message is None, or the reason why this worker cannot start.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # also if another process started the fork server
    show_warnings()
    threading.Thread(target=_end_with_pool, daemon=True).start()
    try:
        set_threads(threads)
        pipe.send(None)
    except Exception as error:
        pipe.send(StartError(in_a_line(error)))
        return
    try:
        with late_syncs():
            _answer(pipe)
    except OSError as error:
        warn(f"error: {unusable(error)}")


def _answer(pipe: Connection) -> None:
    """Compute batches until the pool closes the pipe or ends."""
    with suppress(EOFError, OSError):
        while True:
            pipe.send(attempt_all(pipe.recv()))


def _end_with_pool() -> None:
    """End this worker, after a checkpoint, when the pool is killed."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

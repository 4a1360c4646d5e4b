"""The workers of a pool: started when there is work for them, and replaced when they die."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from nlhf.launch.job import Job
from nlhf.launch.worker import StartError, Worker
from nlhf.runner.outcome import Ended
from nlhf.terminal import warn


class NoWorkerError(RuntimeError):
    """No worker of the pool can start."""


@dataclass(frozen=True)
class Lost:
    """A worker that died, and whether it had started to work."""

    exit_code: int | None
    started: bool


class Workers:
    """At most `count` processes, and the batches that they work on.

    Args:
        count: of processes.
        threads: of torch in each.
        deaths: how many starts in a row may fail.
    """

    def __init__(self, count: int, threads: int, deaths: int) -> None:
        self.count, self.threads, self.deaths = count, threads, deaths
        self.processes: list[Worker] = []
        self.failed_starts = 0  # since a worker became ready

    def busy(self) -> list[Worker]:
        """The workers that have a batch."""
        return [worker for worker in self.processes if worker.batch]

    def take(self, batch: Sequence[Job]) -> bool:
        """Give a batch to an idle worker or a new one; False if that worker is dead.

        Raises: NoWorkerError if no worker can start.
        """
        worker = next((worker for worker in self.processes if not worker.batch), None)
        try:
            if worker is None:
                self.processes.append(worker := Worker.start(self.threads))
            worker.pipe.send([job.task for job in batch])
        except StartError as error:
            self._note_failed_start(str(error))
            return False
        except OSError:  # it died while it was idle, or when it started
            assert worker
            self._remove(worker)
            if not worker.ready:
                self._note_failed_start(f"exit code {worker.process.exitcode}")
            return False
        worker.batch = batch
        return True

    def returned(self) -> Iterator[tuple[Sequence[Job], list[Ended] | Lost]]:
        """Wait up to a second for batches that are done, or whose workers died.

        Raises: NoWorkerError if no worker can start.
        """
        busy = {worker.pipe: worker for worker in self.busy()}
        for pipe in wait(list(busy), timeout=1.0):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            try:
                results = worker.receive()
            except StartError as error:
                self._remove(worker)
                yield worker.batch, Lost(worker.process.exitcode, started=False)
                self._note_failed_start(str(error))
                continue
            except (EOFError, OSError):
                self._remove(worker)
                yield worker.batch, Lost(worker.process.exitcode, started=True)
                continue
            if results is None:
                self.failed_starts = 0
            else:
                batch, worker.batch = worker.batch, ()
                yield batch, results

    def stop(self) -> None:
        """Let every busy worker write a checkpoint and return its batch."""
        for worker in self.busy():
            worker.process.terminate()

    def close(self) -> None:
        """End all workers, at once."""
        for worker in self.processes:
            worker.pipe.close()  # an idle worker ends when its pipe closes
            if worker.batch:
                worker.process.kill()
            worker.process.join()

    def _remove(self, worker: Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self.processes.remove(worker)

    def _note_failed_start(self, reason: str) -> None:
        """After several failed starts in a row, go on with the workers that have started.

        Raises: NoWorkerError if there are none.
        """
        self.failed_starts += 1
        if self.failed_starts < self.deaths:
            return
        self.count = sum(worker.ready for worker in self.processes)
        if not self.count:
            raise NoWorkerError(
                f"hydra/launcher=pool cannot start a worker ({reason}): repair the installation or free memory, and "
                "repeat the command."
            )
        warn(f"a worker cannot start ({reason}): the sweep goes on with {self.count}.")

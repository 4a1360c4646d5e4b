"""`run_one(config)`: the one function that every launcher calls. A run is absent, running, completed, failed or interrupted,
as its folder says; repeating a command runs only what is missing. No torch import where nothing is."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.budget import Progress, spent, stop_reason
from nlhf.config import ConfigError
from nlhf.launch.lock import locked
from nlhf.launch.stop import StopRequest, stop_on_signal
from nlhf.records import first_hits, read_json, write_json
from nlhf.specification import RESULTS_VERSION, Specification, specify

log = logging.getLogger("nlhf")


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_one` ended.

    Args:
        folder: of the run.
        summary: the content of summary.json.
        skipped: was it completed before?
        signal: the number of the signal that stopped it, or 0.
    """

    folder: Path
    summary: dict[str, Any]
    skipped: bool = False
    signal: int = 0

    @property
    def status(self) -> str:
        """completed, failed or interrupted."""
        return str(self.summary["status"])

    @property
    def log10_exploitability(self) -> float:
        """Of the final policies, mean over seeds; what a hyper-parameter search minimises."""
        value = self.summary["final"].get("exploitability")
        return math.inf if value is None else math.log10(max(value, 1e-300))


Watch = Callable[[Specification], contextlib.AbstractContextManager[Callable[[Progress], None]]]


@contextlib.contextmanager
def unwatched(run: Specification) -> Iterator[Callable[[Progress], None]]:
    """No progress is shown."""
    yield lambda progress: None


def run_one(config: Mapping[str, Any], watch: Watch = unwatched) -> Outcome:
    """Run what a resolved config describes, or what is missing of it.

    Args:
        config: as `nlhf.launch.compose.plain` gives it.
        watch: opens a display of the progress.

    Raises: ConfigError for bad input, before any work; Busy where another process works on the run. A failure of the
    run itself is recorded and returned.
    """
    run = specify(config)
    if run.collapsed:
        log.warning("nothing in this run is random: one seed is run instead of %d, as copies are no replications",
                    run.collapsed)  # fmt: skip
    if earlier := completed(run):
        return Outcome(run.folder, earlier, skipped=True)
    from nlhf.launch.assemble import assemble

    world = assemble(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder), _log_file(run.folder / "run.log"), stop_on_signal() as stop:
        if earlier := completed(run):
            return Outcome(run.folder, earlier, skipped=True)
        return _train(run, world, stop, watch)


def completed(run: Specification) -> dict[str, Any] | None:
    """The summary of this run if it is completed and its budget was at least this one, else None.

    Raises: ConfigError where the folder holds another run, or one of another RESULTS_VERSION.
    """
    summary = read_json(run.folder / "summary.json")
    if summary is None:
        return None
    if summary.get("results_version") != RESULTS_VERSION:
        raise ConfigError(f"{run.folder} holds results of version {summary.get('results_version')}, this is version "
                          f"{RESULTS_VERSION}: choose another study, or remove the folder.")  # fmt: skip
    if summary.get("fingerprint") != run.fingerprint:
        raise ConfigError(f"{run.folder} holds a run of another config: choose another study, or remove the folder.")
    if summary["status"] != "completed" or not spent(run.budget, Progress.from_json(summary["progress"])).all():
        return None
    return summary


def _train(run: Specification, world: Any, stop: StopRequest, watch: Watch) -> Outcome:
    from nlhf.launch.assemble import prox_and_policy
    from nlhf.launch.folder import RunFolder, environment, peak_memory
    from nlhf.trainer import Diverged, Trainer

    started, folder = time.time(), RunFolder(run, world)
    prox, policy = prox_and_policy(run, world)
    trainer = Trainer(run.algorithm.bind(world.beta), prox, policy, world.measure, run.budget, folder, stop,
                      checkpoint_seconds=run.options.checkpoint_seconds)  # fmt: skip
    if checkpoint := folder.resume(trainer.state):
        trainer.restore(checkpoint)
        log.info("going on from iteration %d", trainer.progress.iterations.max())
    folder.begin()
    status, error = "failed", None
    try:
        with watch(run) as trainer.tick:
            status = "completed" if trainer.run() else "interrupted"
    except Diverged as problem:
        error = f"{problem}: a smaller algorithm.step_size or a larger beta may help."
        log.error("%s failed: %s", run.name, error)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        log.error("%s failed: %s\n%s", run.name, error, traceback.format_exc())
    folder.flush()
    folder.save_policy(trainer.state.policy.log_probabilities)
    reason = {"completed": stop_reason(run.budget, trainer.progress), "failed": error,
              "interrupted": f"signal {stop.received.name}" if stop.received else None}[status]  # fmt: skip
    summary = {
        "status": status,
        "stop_reason": reason,
        "run": run.name,
        "fingerprint": run.fingerprint,
        "results_version": RESULTS_VERSION,
        "seeds": run.options.seeds,
        "final": folder.final_metrics(),
        "queries_to_exploitability": {
            "resolution": "scheduled rows",
            **first_hits(folder.table.rows, run.options.seeds),
        },
        "equilibrium": world.equilibria and world.equilibria.summary,
        "progress": trainer.progress.to_json(),
        "wall_seconds": time.time() - started,
        "peak_memory_bytes": peak_memory(),
        **environment(),
    }
    write_json(folder.path / "summary.json", summary)
    if status == "completed" and not run.options.keep_checkpoint:
        (folder.path / "checkpoint.pt").unlink(missing_ok=True)
    return Outcome(folder.path, read_json(folder.path / "summary.json") or summary, signal=stop.received or 0)


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()

"""What `nlhf run` does around `run_one`: shows progress and result, and turns outcomes into exit codes.

0 completed, 1 failed, 2 bad input, 128 + n stopped by signal n. In a multirun no task raises: the sweep goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nlhf.config import ConfigError
from nlhf.launch.compose import plain
from nlhf.launch.plan import jobs_to_run, show_plan
from nlhf.launch.sweep import SweepRecord, errors_as_sentences, record_of_task
from nlhf.runner import console
from nlhf.runner.finished import finished
from nlhf.runner.outcome import Ended
from nlhf.runner.run_one import attempt, run_one
from nlhf.runner.specification import specify
from nlhf.runner.within_budget import limits
from nlhf.terminal import LineFormatter, say, tolerant, warn


def run_command(config: DictConfig) -> float:
    """Run one composed config as a command.

    Relative paths start from the working directory of the command, also with hydra.job.chdir=true: runs have their own
    folders, and a sweep has already read its input files.

    Returns: log10 of the final exploitability; inf if there is none.
    """
    log_to_console()
    hydra = HydraConfig.get()
    overrides, alone = list(hydra.overrides.task), hydra.mode != RunMode.MULTIRUN
    with contextlib.chdir(hydra.runtime.cwd) if hydra.job.chdir else contextlib.nullcontext():
        ended = _alone(config, overrides) if alone else _task(config, overrides)
    if ended.signal:
        warn(f"stopped by signal {ended.signal}: repeat the same command to go on.")
        sys.exit(128 + ended.signal)
    submitted = "SUBMITIT_EXECUTOR" in os.environ  # where a task that exits is one that SLURM lost
    if ended.state == "failed" and (alone or (config.fail_fast and not submitted)):
        sys.exit(1)
    return ended.value


def _alone(config: DictConfig, overrides: list[str]) -> Ended:
    with errors_as_sentences():
        plain_config = plain(config)
        if plain_config.get("dry_run") is True:
            if plain_config.get("force") is not True:
                finished(specify(plain_config))
            record = SweepRecord()
            show_plan(jobs_to_run([overrides], lambda _: plain_config, record), record, HydraConfig.get().launcher)
            return Ended("", "would run")
        outcome = run_one(plain_config, console.progress_bar, overrides)
    console.show_run(outcome.folder, outcome.summary, outcome.skipped)
    if outcome.larger_budget:
        budget, result = limits(asdict(outcome.budget)), console.result(outcome.summary_at_budget)
        say(f"note  these are the results of {outcome.larger_budget}; at {budget} the run had {result}")
    return Ended("", outcome.status, outcome.log10_exploitability, "", outcome.signal)


def _task(config: DictConfig, overrides: list[str]) -> Ended:
    """A task of a sweep: one line, and a note for the table at its end."""
    record = record_of_task()
    try:
        ended = attempt(record.forced_once(plain(config)), overrides)
    except ConfigError as error:
        ended = Ended(" ".join(overrides), "refused", message=str(error))
    if ended.state == "refused":
        warn(f"error: {ended.message}")
    else:
        say(f"{ended.task}  {ended.state}  {ended.message}")
    study = Path(str(config.runs_dir), str(config.study)) if ended.state != "refused" else None
    record.note(ended.task, ended.state, ended.message, ended.budget, study)
    return ended


def log_to_console() -> None:
    """Show the log of nlhf on the standard error, without tracebacks, which each run's own log has."""
    log = logging.getLogger("nlhf")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not any(type(handler) is logging.StreamHandler for handler in log.handlers):
        handler = logging.StreamHandler(tolerant(sys.stderr))
        handler.setFormatter(LineFormatter("%(message)s"))
        handler.addFilter(lambda record: not record.exc_info)
        log.addHandler(handler)

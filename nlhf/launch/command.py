"""What `python main.py` does around `run_one`: shows progress and result, and turns outcomes into exit codes.

0 completed, 1 failed, 2 bad input, 128 + n stopped by signal n. In a multirun no task raises: the sweep goes on.
"""

from __future__ import annotations

import logging
import math
import sys

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nlhf import console
from nlhf.config import ConfigError
from nlhf.launch import sweep
from nlhf.launch.compose import plain
from nlhf.launch.lock import BusyError
from nlhf.launch.run import WriteError, run_one, unwatched


def run_command(config: DictConfig) -> float:
    """Run one composed config as a command; returns log10 of the final exploitability, inf where there is none."""
    _log_to_console()
    hydra = HydraConfig.get()
    alone, overrides = hydra.mode != RunMode.MULTIRUN, list(hydra.overrides.task)
    try:
        plain_config = plain(config)
        if alone and plain_config.get("dry_run") is True:
            sweep.show_plan(sweep.jobs_to_run([overrides], lambda _: plain_config))
            return math.inf
        outcome = run_one(plain_config, console.progress_bar if alone else unwatched, overrides)
    except (ConfigError, BusyError, WriteError) as error:
        print(f"error: {error}", file=sys.stderr)
        failed = isinstance(error, WriteError)
        if alone:
            sys.exit(1 if failed else 2)
        sweep.note(" ".join(overrides), "failed" if failed else "refused")
        return math.inf
    if alone:
        console.show_run(outcome.folder, outcome.summary, outcome.skipped)
    else:
        console.show_line(outcome.summary, outcome.skipped)
        sweep.note(str(outcome.summary["run"]), "skipped" if outcome.skipped else outcome.status)
    if outcome.signal:
        print(f"stopped by signal {outcome.signal}: repeat the same command to go on.", file=sys.stderr)
        sys.exit(128 + outcome.signal)
    if outcome.status == "failed" and (alone or config.fail_fast):
        sys.exit(1)
    return outcome.log10_exploitability


def _log_to_console() -> None:
    log = logging.getLogger("nlhf")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not any(type(handler) is logging.StreamHandler for handler in log.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)

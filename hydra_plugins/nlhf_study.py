"""Hydra's plug-ins of nlhf: the sweeper that skips what is done, and the launchers `pool` and `slurm`.

`python main.py` finds this folder because it lies beside main.py. They turn Hydra's words into ours, and no more.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class StudySweeper(BasicSweeper):
    """All combinations, as Hydra's basic sweeper makes them, but composed fast and without those that are done."""

    def sweep(self, arguments: list[str]) -> Any:
        from nlhf.launch.composer import Composer
        from nlhf.launch.job import check_values
        from nlhf.launch.plan import jobs_to_run, make_folders, show_plan
        from nlhf.launch.sweep import errors_as_sentences, record_of

        context, master, launcher = self.hydra_context, self.config, self.launcher
        assert context is not None
        assert master is not None
        assert launcher is not None
        record = record_of(context)
        params = [f"{key}={value}" for key, value in (self.params or {}).items()]
        parsed = OverridesParser.create(context.config_loader).parse_overrides([*params, *arguments])
        with errors_as_sentences():
            for override in parsed:
                check_values(override)
        (batch,) = self.split_arguments(parsed, None)
        begin = getattr(launcher, "begin", lambda: None) if master.dry_run is not True else lambda: None
        with errors_as_sentences():
            jobs = jobs_to_run(batch, Composer(context.config_loader, master), record, begin)
        if master.dry_run is True:
            show_plan(jobs, record)
            return []
        make_folders(jobs)
        try:
            return [launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)] if jobs else []
        except BaseException:
            record.note_from_files(jobs)
            record.show()
            raise
        finally:
            record.note_from_files(jobs, getattr(launcher, "submits", False))


class _NlhfLauncher(Launcher):
    """What `pool` and `slurm` share: jobs as plain configs, and what Hydra expects back."""

    def __init__(self, **options: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(options), resolve=True)
        self.options: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """A refused job has the value inf, like a failed one, so that a search goes on."""
        from nlhf.launch.composer import Composer
        from nlhf.launch.sweep import errors_as_sentences, record_of

        self.record = record_of(self.hydra_context)
        compose = Composer(self.hydra_context.config_loader, self.config)
        jobs = [self.record.job(overrides, compose) for overrides in job_overrides]
        with errors_as_sentences():
            jobs = [job and self.record.without_force(job) for job in jobs]
            ready = [job for job in jobs if job]
            known = iter(self.values(ready) if ready else ())
        values = [next(known) if job else None for job in jobs]
        return [JobReturn(overrides=overrides, cfg=None, hydra_cfg=None, working_dir=".", task_name="main",
                          status=JobStatus.COMPLETED, _return_value=math.inf if value is None else value)
                for overrides, value in zip(job_overrides, values, strict=True)]  # fmt: skip

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        """log10 of the final exploitability of every job, None where it is not known."""
        raise NotImplementedError


class PoolLauncher(_NlhfLauncher):
    """Runs jobs on this machine, in workers that import torch once."""

    def begin(self) -> None:
        """Get workers ready while the sweep is composed."""
        from nlhf.launch.worker import warm

        warm()

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        from nlhf.cli.run import log_to_console
        from nlhf.launch.pool import Pool
        from nlhf.terminal import warn

        log_to_console()
        pool = Pool(jobs, **self.options, record=self.record)
        values = pool.run()
        if pool.signal:
            warn(f"stopped by signal {pool.signal}: repeat the same command to go on.")
            sys.exit(128 + pool.signal)
        return values


class SlurmLauncher(_NlhfLauncher):
    """Submits jobs to SLURM, many to a task, and exits; or waits for them."""

    @property
    def submits(self) -> bool:
        """Does `launch` return before the jobs have run?"""
        return not self.options["wait"]

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        from nlhf.launch.slurm import launch

        return launch(jobs, self.record, str(self.config.hydra.sweeper._target_), **self.options)

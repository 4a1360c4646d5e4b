"""Plug-ins for Hydra: the sweeper that skips completed runs, and the launchers `pool` and `slurm`.

Hydra finds every module of a package `hydra_plugins` on the path. The classes only translate between Hydra's interfaces
and nlhf's.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class StudySweeper(Sweeper):
    """Runs the combinations that Hydra's basic sweeper would run, but composes them faster and skips completed runs.

    Args:
        params: further overrides by key, such as those of an experiment.
        together: overrides by key whose n-th values go together, instead of all combinations of their values.
    """

    def __init__(self, params: Mapping[str, Any] | None, together: Mapping[str, Any] | None = None) -> None:
        self.params, self.together = params or {}, together or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from nlhf.launch.composer import Composer
        from nlhf.launch.job import check_values, combinations, side_by_side
        from nlhf.launch.plan import jobs_to_run, make_folders, show_plan
        from nlhf.launch.sweep import errors_as_sentences, record_of

        context, master, launcher = self.hydra_context, self.config, self.launcher
        assert context is not None
        assert master is not None
        assert launcher is not None
        record = record_of(context)
        parse = OverridesParser.create(context.config_loader).parse_overrides
        params, together = (
            [f"{key}={value}" for key, value in overrides.items()] for overrides in (self.params, self.together)
        )
        with errors_as_sentences():
            rows = side_by_side(parse(together))
            for override in parse([*params, *arguments]):
                check_values(override)
            batch = [job for row in rows for job in combinations(parse([*params, *row, *arguments]))]
        begin = getattr(launcher, "begin", lambda: None) if master.dry_run is not True else lambda: None
        with errors_as_sentences():
            jobs = jobs_to_run(batch, Composer(context.config_loader, master), record, begin)
        if master.dry_run is True:
            show_plan(jobs, record, master.hydra.launcher)
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
    """Base of `pool` and `slurm`: converts Hydra's overrides to jobs, and their values to Hydra's results."""

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
            of_ready_jobs = iter(self.values(ready) if ready else ())
        values = [next(of_ready_jobs) if job else None for job in jobs]
        return [
            JobReturn(
                overrides=overrides,
                cfg=None,
                hydra_cfg=None,
                working_dir=".",
                task_name="main",
                status=JobStatus.COMPLETED,
                _return_value=math.inf if value is None else value,
            )
            for overrides, value in zip(job_overrides, values, strict=True)
        ]

    @abstractmethod
    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        """log10 of the final exploitability of every job; None for a job without a result yet."""


class PoolLauncher(_NlhfLauncher):
    """Runs jobs on this machine in workers that import torch once."""

    def begin(self) -> None:
        """Get workers ready while the sweep is composed."""
        from nlhf.launch.worker import warm

        warm()

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        from nlhf.cli.run import log_to_console
        from nlhf.launch.pool import Pool
        from nlhf.launch.workers import NoWorkerError
        from nlhf.terminal import warn

        log_to_console()
        pool = Pool(jobs, **self.options, record=self.record)
        try:
            values = pool.run()
        except NoWorkerError as error:
            warn(f"error: {error}")
            sys.exit(1)
        if pool.signal:
            warn(f"stopped by signal {pool.signal}: repeat the same command to go on.")
            sys.exit(128 + pool.signal)
        return values


class SlurmLauncher(_NlhfLauncher):
    """Submits jobs to SLURM, many to a task, and exits; or waits for them."""

    @property
    def submits(self) -> bool:
        """True if `launch` returns before the jobs have run."""
        return not self.options["wait"]

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        from nlhf.launch.slurm import launch

        return launch(jobs, self.record, str(self.config.hydra.sweeper._target_), **self.options)

"""Hydra's plug-ins of nlhf: the sweeper that skips what is done, and the launchers `pool` and `slurm`.

`python main.py` finds this folder because it lies beside main.py. They turn Hydra's words into ours, and no more.
"""

from __future__ import annotations

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
        from nlhf.launch import sweep
        from nlhf.launch.composer import Composer

        context, master = self.hydra_context, self.config
        assert context is not None
        assert master is not None
        assert self.launcher is not None
        words = [f"{key}={value}" for key, value in (self.params or {}).items()]
        parsed = OverridesParser.create(context.config_loader).parse_overrides([*words, *arguments])
        (batch,) = self.split_arguments(parsed, None)
        jobs = sweep.jobs_to_run(batch, Composer(context.config_loader, master))
        if any(job.run.options.dry_run for job in jobs):
            sweep.show_plan(jobs)
            return []
        if not jobs:
            return []
        returned = self.launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)
        for job in jobs:
            submitted = getattr(self.launcher, "submits", False) and job.status() != "completed"
            sweep.note(job.run.name, "submitted" if submitted else job.status())
        return [returned]


class _NlhfLauncher(Launcher):
    """What `pool` and `slurm` share: jobs as plain configs, and what Hydra expects back."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
                        for key, value in options.items()}  # fmt: skip

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def jobs(self, job_overrides: Sequence[Sequence[str]]) -> list[Any]:
        """The jobs of these overrides."""
        from nlhf.launch.composer import Composer
        from nlhf.launch.sweep import Job
        from nlhf.specification import specify

        compose = Composer(self.hydra_context.config_loader, self.config)
        configs = [compose(overrides) for overrides in job_overrides]
        return [Job(tuple(o), config, specify(config)) for o, config in zip(job_overrides, configs, strict=True)]

    def returned(self, jobs: Sequence[Any], values: Sequence[float | None]) -> list[JobReturn]:
        """Completed jobs with these values."""
        return [JobReturn(overrides=job.overrides, cfg=None, hydra_cfg=None, working_dir=str(job.run.folder),
                          task_name="main", status=JobStatus.COMPLETED, _return_value=value)
                for job, value in zip(jobs, values, strict=True)]  # fmt: skip


class PoolLauncher(_NlhfLauncher):
    """Runs jobs on this machine, in workers that import torch once."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from nlhf.launch.pool import Pool

        jobs = self.jobs(job_overrides)
        pool = Pool(jobs, **self.options)
        values = pool.run()
        if pool.signal:
            print(f"stopped by signal {pool.signal}: repeat the same command to go on.", file=sys.stderr)
            sys.exit(128 + pool.signal)
        return self.returned(jobs, values)


class SlurmLauncher(_NlhfLauncher):
    """Submits jobs to SLURM, many to a task, and exits; or waits for them."""

    @property
    def submits(self) -> bool:
        """Does `launch` return before the jobs have run?"""
        return not self.options["wait"]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from nlhf.launch.slurm import launch

        jobs = self.jobs(job_overrides)
        return self.returned(jobs, launch(jobs, str(self.config.hydra.sweeper._target_), **self.options))

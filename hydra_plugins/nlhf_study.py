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
        from nlhf.launch import sweep
        from nlhf.launch.composer import Composer

        context, master, launcher = self.hydra_context, self.config, self.launcher
        assert context is not None
        assert master is not None
        assert launcher is not None
        words = [f"{key}={value}" for key, value in (self.params or {}).items()]
        parsed = OverridesParser.create(context.config_loader).parse_overrides([*words, *arguments])
        with sweep.in_sentences():
            for override in parsed:
                sweep.check_values(override)
        (batch,) = self.split_arguments(parsed, None)
        begin = getattr(launcher, "begin", lambda: None) if master.dry_run is not True else lambda: None
        with sweep.in_sentences():
            jobs = sweep.jobs_to_run(batch, Composer(context.config_loader, master), begin)
        if master.dry_run is True:
            sweep.show_plan(jobs)
            return []
        sweep.make_folders(jobs)
        try:
            return [launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)] if jobs else []
        except BaseException:
            sweep.note_from_files(jobs)
            sweep.show_table()
            raise
        finally:
            sweep.note_from_files(jobs, getattr(launcher, "submits", False))


class _NlhfLauncher(Launcher):
    """What `pool` and `slurm` share: jobs as plain configs, and what Hydra expects back."""

    def __init__(self, **options: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(options), resolve=True)
        self.options: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """A job that is refused has the value inf, as one that fails: a search goes on."""
        from nlhf.launch import sweep
        from nlhf.launch.composer import Composer

        compose = Composer(self.hydra_context.config_loader, self.config)
        jobs = [sweep.job_of(overrides, compose) for overrides in job_overrides]
        with sweep.in_sentences():
            jobs = sweep.start_anew(jobs)
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
        from nlhf.launch.pool import warm

        warm()

    def values(self, jobs: Sequence[Any]) -> Sequence[float | None]:
        from nlhf.cli.run import log_to_console
        from nlhf.launch.pool import Pool
        from nlhf.terminal import warn

        log_to_console()
        pool = Pool(jobs, **self.options)
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

        return launch(jobs, str(self.config.hydra.sweeper._target_), **self.options)

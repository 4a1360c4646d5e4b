"""Checks of the options of `hydra/launcher=slurm`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from nlhf.config import ConfigError

SMALLEST: dict[str, float] = {  # allowed values of options
    "runs_per_task": 1,
    "target_minutes": 0.1,
    "timeout_min": 10,
    "max_num_timeout": 0,
    "signal_delay_s": 1,
    "array_parallelism": 1,
    "cpus_per_task": 1,
    "mem_gb": 0.1,
    "gpus_per_node": 0,
    "processes": 1,
    "gpu_gb": 1,
}
FRACTIONS = ("target_minutes", "mem_gb", "gpu_gb")


def check(options: Mapping[str, Any]) -> None:
    """Refuse options out of range, and a machine without SLURM or submitit.

    Raises: ConfigError.
    """
    for key, smallest in SMALLEST.items():
        value, numbers = options[key], (int, float) if key in FRACTIONS else (int,)
        if value is None and key in ("runs_per_task", "gpu_gb"):
            continue
        if type(value) not in numbers or value < smallest:
            kind = "number" if float in numbers else "whole number"
            raise ConfigError(f"hydra.launcher.{key}={value} is out of range: give a {kind} >= {smallest:g}.")
    for key, container in (("setup", list), ("additional", dict)):
        if not isinstance(options[key], container):
            raise ConfigError(
                f"hydra.launcher.{key}={options[key]} is not a {container.__name__}: see conf/hydra/launcher."
            )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "hydra/launcher=slurm finds no sbatch on the path: run it on a login node of the cluster, or choose "
            "hydra/launcher=pool."
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError('hydra/launcher=slurm needs submitit: pip install -e ".[slurm]".') from error

"""The top-level keys of conf/config.yaml. No torch import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from nlhf.config import ConfigError
from nlhf.io.links import check_path
from nlhf.numerics.simplex import SINGLE


@dataclass(frozen=True)
class Options:
    """The top-level keys of conf/config.yaml, without the groups.

    Args:
        names: the names of the game and of the algorithm in tables and folders.
        beta: strength of the KL term, >= 0.
        seeds: distinct seeds; `parse_seeds` turns a count or a range into a list.
        device: the device of all tensors, in torch's notation.
        dtype: precision of a game's answers about whole policies; policies and metrics are float64.
        equilibrium: compute the reference equilibrium always, never, or (`auto`) if that takes seconds.
        log_policy: record the policies of all rows, in policies.csv.
        study, runs_dir: the run's folder lies in runs_dir/study.
        progress: show a progress bar in a terminal.
        tensorboard: write every row into the run's folder for TensorBoard too, while the run goes on.
        keep_checkpoint: keep checkpoint.pt of a completed run.
        checkpoint_seconds: time between two checkpoints.
        retry_failed: run failed runs again, from their last checkpoint if they have one.
        fail_fast: stop a sweep at the first run that fails.
        dry_run: list the runs without running them.
        force: move the run's folder aside, NAME to NAME.1, and run again from the start.
        arena: let the language models of a sweep play each other at its end.
        vectorise: let launchers compute runs as one batch if they differ in numbers only.
    """

    names: dict[str, str]
    beta: float
    seeds: list[int]
    device: str
    dtype: Literal["float64", "float32"]
    equilibrium: Literal["auto", "always", "never"]
    log_policy: bool
    study: str
    runs_dir: str
    progress: bool
    tensorboard: bool
    keep_checkpoint: bool
    checkpoint_seconds: float
    retry_failed: bool
    fail_fast: bool
    dry_run: bool
    force: bool
    arena: bool
    vectorise: bool

    @property
    def rounding(self) -> float:
        """The relative rounding error of a game's answers if it exceeds the error of policies, else 0."""
        return SINGLE if self.dtype == "float32" else 0.0

    @property
    def caveat(self) -> str | None:
        """The exploitability below which rounded answers dominate, in words; None without rounding."""
        if not self.rounding:
            return None
        floor = f"{self.rounding**2 / 4:.1e}/beta" if self.beta else f"{self.rounding:.1e}"
        return f"answers in float32: exploitability below {floor} may be rounding"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta={self.beta} is out of range: give a finite number >= 0.")
        for key in ("game", "algorithm"):
            if not re.fullmatch(r"[\w.+-]+", self.names.get(key, "")):
                raise ConfigError(
                    f"names.{key}={self.names.get(key)} cannot name a folder: use letters, digits, . _ + -."
                )
        if not self.runs_dir:
            raise ConfigError("runs_dir= is empty: give a folder.")
        if not self.study or self.study.startswith(("/", ".")) or ".." in Path(self.study).parts:
            raise ConfigError(f"study={self.study} cannot name a folder of runs_dir: give a relative name.")
        name = f"{self.names['game']}-{self.names['algorithm']}-{'0' * 12}"
        folder = f"{self.runs_dir}/{self.study}/{name}"
        for key, path in (("runs_dir", self.runs_dir), ("study", self.study), ("names", name), ("study", folder)):
            check_path(key, path)
        if self.tensorboard and find_spec("tensorboard") is None:
            raise ConfigError(
                'tensorboard=true needs the extra tensorboard: pip install -e ".[tensorboard]", or leave it out.'
            )
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(f"checkpoint_seconds={self.checkpoint_seconds} is negative: give a time >= 0.")

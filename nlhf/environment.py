"""What a run was made with: versions, the commit, threads and memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    pass


@cache
def environment() -> Mapping[str, Any]:
    """Versions and the commit, for summary.json."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("nlhf", "torch", "numpy", "hydra-core", "omegaconf", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    return {"versions": versions, "commit": commit, "platform": platform.platform(), "threads": torch.get_num_threads()}


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

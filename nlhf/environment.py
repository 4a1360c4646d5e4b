"""What a run was made with: versions, commits, threads and memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import nlhf

PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "scipy")


@cache
def environment() -> Mapping[str, Any]:
    """Versions and commits, for summary.json.

    `commit` belongs to the checkout that nlhf runs from; it is None for an installed package. `user_commit` belongs to
    the repository around the current folder, if that is another one.
    """
    versions: dict[str, str | None] = {"python": platform.python_version(), "nlhf": nlhf.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    source, current = Path(nlhf.__file__).resolve().parent, Path()
    root, user_root = _git(source, "rev-parse", "--show-toplevel"), _git(current, "rev-parse", "--show-toplevel")
    is_checkout = root is not None and Path(root) == source.parent and _tracks_package(source)
    user_commit = _commit(current) if user_root is not None and not (is_checkout and user_root == root) else None
    return {
        "versions": versions,
        "commit": _commit(source) if is_checkout else None,
        **({} if user_commit is None else {"user_commit": user_commit}),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }


def _tracks_package(package: Path) -> bool:
    """True if the repository around the package tracks its source and its pyproject.toml."""
    files = ("__init__.py", "../pyproject.toml")
    return _git(package, "ls-files", "--error-unmatch", *files) is not None


def _commit(folder: Path) -> str | None:
    """The commit of the repository around a folder; `-dirty` follows if tracked files differ from it."""
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command in a folder, None if it fails."""
    try:
        completed = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

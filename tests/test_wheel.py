"""The wheel, installed in an environment of its own without a checkout: a preset, a pool, an own algorithm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import nlhf

ROOT = Path(nlhf.__file__).parents[1]
SOURCES = ("nlhf", "hydra_plugins", "conf", "pyproject.toml", "README.md", "LICENSE", "main.py", ".gitignore")
SHORT = ("budget.iterations=3", "seeds=2", "progress=false")
MODULE = """
from dataclasses import dataclass
from nlhf.algorithms.nash_mp import NashMP

@dataclass(frozen=True)
class Mine(NashMP):
    pass
"""
WRITE_CONFIGS = {"mine.py": MODULE, "own/algorithm/mine.yaml": "defaults: [nash_mp]\n_target_: mine.Mine\n"}


def run(*words, **options):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=600, check=False,
                          env=environment | {"OMP_NUM_THREADS": "1"}, **options)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The command `nlhf` of an environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    isolated = [] if find_spec("hatchling") is None else ["--no-build-isolation"]
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", *isolated, "-w", folder, source)
    shutil.rmtree(source)
    (wheel,) = folder.glob(f"nlhf-{nlhf.__version__}-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "environment")}))
    pip = [sys.executable, "-m", "pip", "--python", folder / "environment" / "bin" / "python"]
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    here = [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")]
    (target / "dependencies.pth").write_text("\n".join(map(str, here)))
    return folder / "environment" / "bin" / "nlhf"


@pytest.fixture
def home(tmp_path):
    """A repository of the user's, with an own algorithm."""
    for name, text in WRITE_CONFIGS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    run("git", "init", "-q", cwd=tmp_path)
    run("git", "add", "mine.py", cwd=tmp_path)
    run(*git, "commit", "-q", "-m", "Begin", cwd=tmp_path)
    return tmp_path


def summaries(study):
    return [json.loads(path.read_text()) for path in sorted(study.glob("*/summary.json"))]


def test_an_installed_copy_runs_a_preset_a_pool_and_an_own_algorithm(installed, home):
    assert run(installed, "--version", cwd=home) == f"nlhf {nlhf.__version__}\n"
    preset = ("experiment=human_votes", "algorithm=nash_mp", "study=preset")
    run(installed, "run", *preset, *SHORT, "hydra/launcher=pool", "hydra.launcher.workers=2", cwd=home)
    run(installed, "compare", "runs/preset", "--no-report", cwd=home)
    own = ("--config-dir", "own", "algorithm=mine", "beta=0.1,0.2", "study=own")
    run(installed, "run", "-m", *own, *SHORT, "hydra/launcher=pool", "hydra.launcher.workers=2", cwd=home)
    assert {summary["status"] for summary in summaries(home / "runs" / "preset")} == {"completed"}
    assert [summary["status"] for summary in summaries(home / "runs" / "own")] == ["completed"] * 2


def test_an_installed_copy_records_the_users_commit_and_none_of_its_own(installed, home):
    run(installed, "run", *SHORT, cwd=home)
    (summary,) = summaries(home / "runs" / "default")
    assert summary["commit"] is None
    assert summary["user_commit"] == run("git", "rev-parse", "HEAD", cwd=home).strip()
    assert summary["versions"]["nlhf"] == nlhf.__version__

"""Running `python main.py` from a test or a benchmark, in this process or another, and what a study's runs left."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

MAIN = Path(__file__).resolve().parents[2] / "main.py"
GAME = ("game=random_tournament", "game.actions=4", "budget.queries=200", "budget.target=null")
SLOW = ("algorithm._target_=tests.launch.plugins.Slow", "checkpoint_seconds=0")  # a millisecond an iteration
STARTED: list[subprocess.Popen[str]] = []  # by `process`
KEPT = ("status", "stop_reason", "fingerprint", "seeds", "final", "queries_to_exploitability", "progress")


@dataclass(frozen=True)
class Done:
    """A command's exit code and what it wrote."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> Done:
    """`python main.py ARGUMENTS` in this process, whose state is put back."""
    loggers = [logging.getLogger(name) for name in (None, "nlhf")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    plugins, saved, argv = Plugins.instance(), Singleton.get_state(), sys.argv
    handler = signal.getsignal(signal.SIGINT)
    if str(MAIN.parent) not in sys.path:
        sys.path.insert(0, str(MAIN.parent))
    GlobalHydra.instance().clear()
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            warnings.simplefilter("ignore")  # of Hydra's plug-ins
            sys.argv = [str(MAIN), *arguments]
            runpy.run_path(str(MAIN), run_name="__main__")
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.argv = argv
        Singleton.set_state(saved)
        Singleton._instances[Plugins] = plugins
        for logger, handlers, level, propagate in before:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
    return Done(code, out.getvalue(), err.getvalue())


def process(*arguments: str, first: Path = MAIN.parent, **options: Any) -> subprocess.Popen[str]:
    """The same in a process of its own, at the head of its own group; modules in `first` hide installed ones."""
    environment = os.environ | {"PYTHONPATH": f"{first}{os.pathsep}{MAIN.parent}", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = [sys.executable, str(MAIN), *arguments]
    running: subprocess.Popen[str] = subprocess.Popen(
        words, env=environment, start_new_session=True, **pipes, **options
    )
    STARTED.append(running)
    return running


def ended(running: subprocess.Popen[str], timeout: float = 600) -> Done:
    """What a process came to."""
    try:
        out, err = running.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return Done(running.returncode, out, err)


def close_all() -> None:
    """Kill what a test that failed has left of its processes, and close their pipes."""
    while STARTED:
        running = STARTED.pop()
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        for pipe in filter(None, (running.stdout, running.stderr)):
            pipe.close()
        running.wait()


def until(true: Callable[[], Any], timeout: float = 600) -> Any:
    """Wait for something to be true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
    return value


def workers(main: int) -> list[int]:
    """The processes of the workers of the pool of a process: children of its fork server."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == main]


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a run without times, in the order of seeds and iterations."""
    with (folder / "metrics.csv").open(newline="") as stream:
        found = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]
    return sorted(found, key=lambda row: (int(row["seed"]), int(row["iteration"])))


def results(study: Path) -> dict[str, Any]:
    """All that the runs of a study came to, but times; no file may be torn or left over."""
    found = {}
    for folder in (path for path in study.iterdir() if path.is_dir() and not path.name.startswith(".")):
        left = {path.name for path in folder.iterdir()} - {"checkpoint.pt"}
        assert left == {"metrics.csv", "summary.json", "game.npz", "policy.npz", "run.log", ".hydra"}
        summary = json.loads((folder / "summary.json").read_text())
        del summary["progress"]["seconds"]
        with np.load(folder / "policy.npz") as saved:
            policy = saved["log_policy"].tolist()
        found[folder.name] = rows(folder), policy, {name: summary[name] for name in KEPT}
    return found

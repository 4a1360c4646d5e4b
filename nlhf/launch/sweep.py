"""The end of a multirun: a table of what became of every task, and the exit code."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_tasks: list[tuple[str, str]] = []


def note(task: str, state: str) -> None:
    """Remember what became of a task: completed, skipped, failed, interrupted or refused."""
    _tasks.append((task, state))


class SweepTable(Callback):
    """Hydra's callback: prints the counts and the tasks that did not end well; exit code 1 if there is one."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if not _tasks:
            return
        print(", ".join(f"{count} {state}" for state, count in Counter(state for _, state in _tasks).items()))
        bad = [(task, state) for task, state in _tasks if state not in ("completed", "skipped")]
        for task, state in bad:
            print(f"  {state}: {task}")
        print(f"compare them: python -m nlhf.analysis {config.hydra.sweep.dir}")
        if bad:
            sys.exit(1)

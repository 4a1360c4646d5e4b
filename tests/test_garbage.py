"""Commands collect no garbage while they import, and collect it while they work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WATCH = """
import atexit, gc, sys
from nlhf.cli.early import prepare
prepare()
before = gc.isenabled()
import nlhf.runner.trainer as trainer
during, iterate = set(), trainer.Trainer._iterate
trainer.Trainer._iterate = lambda self: (during.add(gc.isenabled()), iterate(self))
atexit.register(lambda: print("collects before", before, "and during", during))
from nlhf.__main__ import main
main()
"""


@pytest.mark.parametrize("words", [[], ["-m"]])
def test_garbage_is_collected_while_a_run_works_but_not_while_it_is_imported(tmp_path, words):
    arguments = ["run", *words, "budget.iterations=3", "progress=false", f"runs_dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "collects before False and during {True}" in done.stdout


def test_objects_that_exist_before_the_work_are_never_examined():
    code = (
        "import gc; from nlhf.garbage import collect_again, postpone_collections as postpone; postpone(); "
        "kept = [[] for _ in range(1000)]; collect_again(); print(gc.isenabled(), gc.get_freeze_count() > 1000); "
        "collect_again()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]

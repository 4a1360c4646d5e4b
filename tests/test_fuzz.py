"""A damaged file is repaired or named in a sentence; no command ends with a traceback or gives other numbers."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from nlhf.launch.run import run_one
from tests.composing import configured
from tests.fuzz import Study, campaign
from tests.operations import killed

pytestmark = pytest.mark.usefixtures("one_thread")
GAME = ["game=random_tournament", "game.actions=3", "beta=0.2", "seeds=[4,0]", "progress=false", "log_policy=true",
        "budget.target=null", "budget.queries=null", "checkpoint_seconds=0", "study=s"]  # fmt: skip


@contextlib.contextmanager
def signal_at_five(_):
    """A watch that stops the run after five iterations."""

    def tick(progress):
        if progress.iterations.max() == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    yield tick


@pytest.fixture
def study(tmp_path):
    """Makes a study of two runs, the first of which was left in some state."""

    def made(state):
        root = tmp_path / "runs"
        base = configured(*GAME, f"runs_dir={root}")

        def config(iterations, **changes):
            return base | {"budget": base["budget"] | {"iterations": iterations}} | changes

        make = {
            "completed": run_one,
            "without checkpoint": run_one,
            "interrupted": lambda config: run_one(config, signal_at_five),
            "killed": lambda config: killed(lambda: run_one(config), root, 100),
        }[state]
        options = {"keep_checkpoint": state != "without checkpoint"}
        configs = config(7, **options), config(9, **options), config(7, beta=0.3, **options)
        return Study(root, *configs, make, completed=make is run_one)

    return made


@pytest.mark.parametrize("state", ["completed", "killed"])
def test_damage_is_repaired_or_named(study, state):
    counts, broken = campaign(study(state), 1, thin=3 if state == "completed" else 7)
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


@pytest.mark.long
@pytest.mark.parametrize("state", ["completed", "without checkpoint", "interrupted", "killed"])
def test_damage_of_every_kind_is_repaired_or_named(study, state, capsys):
    counts, broken = campaign(study(state), 3)
    with capsys.disabled():
        print(f"{state}: {dict(counts)}")
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)

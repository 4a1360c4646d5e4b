"""A damaged file is repaired or named in a sentence; no command ends with a traceback or gives other numbers."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from nlhf.io.checksums import sealed, unsealed
from nlhf.runner.run_one import run_one
from tests.composing import configured
from tests.fuzz import Study, campaign
from tests.operations import killed

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORK = ["game=contextual", "game.actions=3", "game.contexts=2", "game.test_contexts=2", "policy=mlp",
           "policy.hidden=[4]", "prox=gradient", "prox.contexts=2", "prox.samples=2",
           "algorithm=nash_prox"]  # fmt: skip
GAME = ["game=random_tournament", "game.actions=3", "beta=0.2", "seeds=[4,0]", "progress=false", "log_policy=true",
        "budget.target=null", "budget.queries=null", "checkpoint_seconds=0", "study=s"]  # fmt: skip


@contextlib.contextmanager
def signal_at_five(_):
    """A watch that stops the run after five iterations."""

    def tick(progress, row):
        if progress.iterations.max() == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    yield tick


def networks(*words):
    """The config of a run that trains a network."""
    return configured(*words, *NETWORK)


@pytest.fixture
def study(tmp_path):
    """Makes a study of two runs, the first of which was left in some state."""

    def made(state, compose=configured):
        root = tmp_path / "runs"
        base = compose(*GAME, f"runs_dir={root}")

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


@pytest.fixture
def study_of_a_language_model(tmp_path, text_config):
    """Two runs of a tiny language model."""
    root = tmp_path / "runs"
    small = ["prox.contexts=1", "prox.samples=2", "game.test_prompts=2", "policy.max_new_tokens=3"]
    words = [*small, "study=s", "checkpoint_seconds=0", f"runs_dir={root}"]
    changes = ["budget.iterations=2"], ["budget.iterations=3"], ["budget.iterations=2", "beta=0.2"]
    configs = [text_config(*words, *change) for change in changes]
    return Study(root, *configs)


def test_every_flipped_bit_of_a_sealed_file_is_noticed(tmp_path):
    path, content = tmp_path / "file", sealed(b"rows of a run")
    path.write_bytes(content)
    assert unsealed(path) == b"rows of a run"
    for position in range(len(content)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[position] ^= bit
            path.write_bytes(damaged)
            assert unsealed(path) is None


@pytest.mark.parametrize("state", ["completed", "killed"])
def test_damage_is_repaired_or_named(study, state):
    counts, broken = campaign(study(state), 1, thin=3 if state == "completed" else 7)
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


def test_damage_of_a_network_is_repaired_or_named(study):
    counts, broken = campaign(study("completed", networks), 1, thin=17)
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


def test_damage_of_a_language_model_is_repaired_or_named(study_of_a_language_model):
    counts, broken = campaign(study_of_a_language_model, 1, thin=29)
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


@pytest.mark.long
@pytest.mark.parametrize("state", ["completed", "without checkpoint", "interrupted", "killed"])
def test_damage_of_every_kind_is_repaired_or_named(study, state, capsys):
    counts, broken = campaign(study(state), 3)
    with capsys.disabled():
        print(f"{state}: {dict(counts)}")
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


@pytest.mark.long
def test_damage_of_every_kind_to_a_network_is_repaired_or_named(study, capsys):
    counts, broken = campaign(study("completed", networks), 2)
    with capsys.disabled():
        print(f"network: {dict(counts)}")
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)


@pytest.mark.long
def test_damage_of_every_kind_to_a_language_model_is_repaired_or_named(study_of_a_language_model, capsys):
    counts, broken = campaign(study_of_a_language_model, 1)
    with capsys.disabled():
        print(f"language model: {dict(counts)}")
    assert not broken, f"{dict(counts)}\n" + "\n".join(broken)

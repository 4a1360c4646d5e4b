"""What a run shows while it goes on: events for TensorBoard, the last row in words, the last samples."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal

import numpy as np
import pandas as pd
import pytest

from nlhf.config import ConfigError
from nlhf.launch.status import states
from nlhf.runner import options
from nlhf.runner.live import Events, row_in_words
from nlhf.runner.run_one import run_one
from tests.composing import configured

GAME = ["game=random_tournament", "game.actions=5", "beta=0.1", "seeds=[2,5]", "progress=false", "study=s",
        "budget.queries=null", "budget.target=null", "tensorboard=true"]  # fmt: skip
NEEDS = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")


def scalars(folder):
    """The scalars of one seed by name: (step, value) pairs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def nothing(*_):
    pass


def watching(iteration, look):
    """A watch that looks after this iteration, and stops the run there."""

    @contextlib.contextmanager
    def watch(run):
        def tick(progress, row):
            if progress.iterations.max() == iteration:
                look(run.folder, row)
                os.kill(os.getpid(), signal.SIGTERM)

        yield tick

    return watch


@NEEDS
def test_a_run_that_was_interrupted_leaves_each_row_once_for_tensorboard(tmp_path):
    config = configured(*GAME, f"runs_dir={tmp_path}", "budget.iterations=9")
    assert run_one(config, watching(5, nothing)).status == "interrupted"
    outcome = run_one(config)
    table = pd.read_csv(outcome.folder / "metrics.csv")
    assert len(table) > 8
    for seed in (2, 5):
        rows = table[table["seed"] == seed]
        written = scalars(outcome.folder / "tensorboard" / f"seed-{seed}")
        for name in ("exploitability", "kl_to_equilibrium", "iteration"):
            assert written[name] == [
                (queries, np.float32(value)) for queries, value in zip(rows["queries"], rows[name], strict=True)
            ]


@NEEDS
def test_a_process_replaces_the_events_after_the_checkpoint_that_it_goes_on_from(tmp_path):
    """A killed process wrote rows behind its last checkpoint; the next one computes them again."""
    for rows in (((0, 1.0), (2, 0.5), (4, 0.25)), ((2, 0.5), (6, 0.125))):
        events = Events(tmp_path)
        for queries, value in rows:
            events.add(0, {"queries": queries, "exploitability": value})
        events.close()
    written = scalars(tmp_path / "tensorboard" / "seed-0")
    assert written["exploitability"] == [(0, 1.0), (2, 0.5), (6, 0.125)]


def test_tensorboard_is_refused_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "find_spec", {}.get)
    with pytest.raises(ConfigError, match=r"tensorboard=true needs the extra tensorboard: pip install"):
        run_one(configured(*GAME, f"runs_dir={tmp_path}"))


def test_the_last_row_of_a_table_and_of_a_language_model_in_words():
    missing = {"test_win_rate_vs_reference": None, "sampled_tokens": None}
    assert row_in_words(missing | {"exploitability": 0.00213, "seconds": 3.0}) == "exploitability 2.1e-03"
    text = {"exploitability": None, "test_win_rate_vs_reference": 0.614, "win_rate_low": 0.5, "win_rate_high": 0.7,
            "test_kl_to_reference": 0.0321, "sampled_tokens": 300.0, "seconds": 2.0}  # fmt: skip
    assert row_in_words(text) == "win rate 0.61 [0.50, 0.70], KL 0.032, 150 tokens/s"
    assert row_in_words(text | {"sampled_tokens": 0.0, "seconds": 0.0}) == "win rate 0.61 [0.50, 0.70], KL 0.032"
    assert row_in_words({}) == ""


def test_a_language_model_shows_its_last_row_and_samples_while_it_trains(text_config):
    seen = {}

    def look(folder, row):
        seen["row"], seen["state"] = row, next(states(folder.parent))
        seen["samples"] = (folder / "completions.jsonl").read_text().splitlines()

    outcome = run_one(text_config("budget.iterations=3", "checkpoint_seconds=0"), watching(3, look))
    assert len(seen["samples"]) == 8
    table = pd.read_csv(outcome.folder / "metrics.csv")
    assert table["sampled_tokens"].iloc[0] == 0
    assert 0 < table["sampled_tokens"].iloc[-1] <= 3 * 3 * 4 * 6 * 2  # steps, prompts, samples, tokens, two policies
    assert seen["state"].state == "running"
    assert seen["state"].result == row_in_words({name: float(values[0]) for name, values in seen["row"].items()})


def test_a_resumed_language_model_counts_the_tokens_of_both_processes(text_config, tmp_path):
    words = ("budget.iterations=4", "checkpoint_seconds=0")
    counts = []
    for name, watches in (("one", []), ("two", [watching(2, nothing)])):
        config = text_config(*words, f"runs_dir={tmp_path / name}")
        for watch in watches:
            assert run_one(config, watch).status == "interrupted"
        outcome = run_one(config)
        counts.append(pd.read_csv(outcome.folder / "metrics.csv")["sampled_tokens"].iloc[-1])
    assert counts[0] == counts[1] > 0

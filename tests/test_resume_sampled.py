"""Random streams, optimiser states and networks go on from a checkpoint to the bit; a run that diverges keeps one."""

from __future__ import annotations

import functools
import json

import pytest
import torch

from nlhf.launch.compose import composed, plain
from nlhf.runner.run_one import run_one, unwatched
from nlhf.runner.stop import SIGNALS
from tests.test_resume import left_behind, signalling

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTH = 41  # off the schedule
MLP = ["game=contextual", "game.actions=4", "game.contexts=6", "game.test_contexts=3", "policy=mlp",
       "policy.hidden=[16,16]", "prox.contexts=5", "prox.samples=4"]  # fmt: skip
TABLE = ["game=random_tournament", "game.actions=5", "game.contexts=2", "reference=random"]
CASES = {
    "closed form": [*TABLE, "algorithm=nash_mp", "prox=sampled", "feedback=vote", "prox.opponents=3"],
    "adam": [*MLP, "algorithm=nash_prox", "prox=gradient", "feedback=vote"],
    "adam, forgetful": [*MLP, "algorithm=optimistic", "prox=gradient", "prox.inner_steps=3", "prox.carry=false"],
    "rmsprop, schedule": [
        *MLP,
        "algorithm=nash_mp",
        "prox=gradient",
        "prox.inner_steps=3",
        "prox.optimiser=rmsprop",
        "prox.decay_steps=7",
        "prox.clip=0.1",
        "feedback.orders=random",
    ],
    "learned baseline": [*TABLE, "algorithm=nash_md_pg", "prox=gradient", "prox.baseline=learned", "prox.contexts=1"],
    "momentum": [*TABLE, "algorithm=nash_mp_ema", "prox=gradient", "prox.optimiser=sgd", "feedback.flip=0.1"],
}


@functools.cache
def config(*overrides):
    with composed([*overrides, "beta=0.2", "seeds=[4,0,9]", "progress=false", "equilibrium=never"]) as made:
        return plain(made)


def run(folder, study, case, watch=unwatched, **limits):
    made = config(*CASES[case])
    budget = made["budget"] | {"queries": None, "iterations": None, "seconds": None, "target": None} | limits
    return run_one(made | {"budget": budget, "runs_dir": str(folder), "study": study}, watch)


def everything(folder):
    """What a run leaves behind, and the weights of its networks."""
    weights = folder / "policy.safetensors"
    return left_behind(folder), weights.read_bytes() if weights.exists() else None


@pytest.mark.parametrize("case", CASES)
def test_stopped_thrice_or_given_more_it_ends_where_an_undisturbed_run_does(tmp_path, case):
    undisturbed = run(tmp_path, "whole", case, iterations=LENGTH)
    assert undisturbed.status == "completed"
    assert (undisturbed.folder / "policy.safetensors").exists() == ("policy=mlp" in CASES[case])
    for at, number in zip((3, 11, 26), SIGNALS, strict=True):
        outcome = run(tmp_path, "stopped", case, signalling(at, number), iterations=LENGTH)
        assert (outcome.status, outcome.summary["progress"]["iterations"]) == ("interrupted", [at] * 3)
    stopped = run(tmp_path, "stopped", case, iterations=LENGTH)
    for budget in (0, 1, 12, LENGTH):
        grown = run(tmp_path, "grown", case, iterations=budget)
    assert everything(stopped.folder) == everything(grown.folder) == everything(undisturbed.folder)


DIVERGING = ["prox.optimiser=sgd", "prox.learning_rate=1e38", "checkpoint_seconds=0"]


def test_divergence_fails_with_a_sentence_and_keeps_the_last_good_checkpoint(tmp_path):
    made = config(*CASES["adam"], *DIVERGING, "budget.target=null", "budget.iterations=2000")
    outcome = run_one(made | {"runs_dir": str(tmp_path)})
    assert outcome.status == "failed"
    reason = json.loads((outcome.folder / "summary.json").read_text())["stop_reason"]
    assert reason.startswith("DivergedError: the exploitability of seed number ")
    assert "is nan: a smaller prox.learning_rate" in reason
    assert "\n" not in reason
    kept = torch.load(outcome.folder / "checkpoint.pt", weights_only=False)
    weights = kept["state"]["policy"] if isinstance(kept["state"], dict) else kept["state"].policy
    assert all(value.isfinite().all() for value in weights.parameters.values())

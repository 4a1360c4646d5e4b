"""Defaults fit the engine and the policy: budgets, gradient steps, and the sentence of a run that was cut short."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from nlhf.budget import Budget, Progress, cut_short
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from tests.composing import configured
from tests.test_config import changed

TABLE = ["prox=gradient", "algorithm=nash_prox"]
MLP = [*TABLE, "policy=mlp", "game=contextual"]
TEXT = [*TABLE, "policy=causal_lm", "game=text"]
NONE = {"queries": None, "iterations": None, "seconds": None, "target": None}


@pytest.mark.parametrize(
    ("words", "queries", "iterations"),
    [
        ([], (100, 1_000, 100_000), (None, None, None)),
        (["prox=sampled"], (100_000, 1_000_000, 10_000_000), (None, None, None)),
        (TABLE, (100_000, 1_000_000, 10_000_000), (1_000, 10_000, 100_000)),
        (MLP, (100_000, 1_000_000, 10_000_000), (1_000, 10_000, 100_000)),
        (TEXT, (80, 800, 8_000), (1_000, 10_000, 100_000)),
    ],
)
def test_every_engine_has_budgets_that_fit(words, queries, iterations):
    names = ("short", "default", "long")
    budgets = [configured(*words, f"budget={name}")["budget"] for name in names]
    assert tuple(budget["queries"] for budget in budgets) == queries
    assert tuple(budget["iterations"] for budget in budgets) == iterations
    assert configured(*words)["budget"] == budgets[1]
    assert configured(*words, "budget=long", "budget.queries=7")["budget"]["queries"] == 7


def test_policies_bring_defaults_of_gradient_steps_and_the_command_line_goes_first():
    keys = ("learning_rate", "clip", "contexts", "samples")
    text, table = configured(*TEXT)["prox"], configured(*TABLE)["prox"]
    assert tuple(text[key] for key in keys) == (2e-4, 1.0, 8, 2)
    assert (table["clip"], table["contexts"], table["samples"]) == (None, 32, 8)
    assert configured(*TEXT, "prox.learning_rate=0.01")["prox"]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    "change",
    [{"policy.gradient": {"learning_rate": 1.0, "clip": None}}, {"policy.budget": {"short": {"queries": 1}}},
     {"prox.budget": {"default": {"queries": 1, "iterations": None}}}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_advice_is_no_part_of_the_fingerprint(change):
    base = configured(*MLP)
    runs = [specify(config) for config in (base, changed(base, change))]
    assert runs[0].fingerprint == runs[1].fingerprint
    assert runs[0].digests == runs[1].digests


# --- a run that is cut short ------------------------------------------------------------------------------------------


def progress(iterations, queries, best=1.0):
    return Progress(np.array([iterations]), np.array([queries]), np.array([best]))


@pytest.mark.parametrize(
    ("limits", "reached", "said"),
    [
        ({"queries": 1000}, progress(8, 1024), True),
        ({"queries": 1000, "target": 0.1}, progress(8, 1024), True),
        ({"queries": 1000, "target": 0.1}, progress(8, 1024, best=0.05), False),  # the target ended it as well
        ({"queries": 1000}, progress(100, 1000), False),
        ({"iterations": 8}, progress(8, 1024), False),
        ({"queries": 0}, progress(0, 0), False),
    ],
)
def test_a_run_is_cut_short_where_queries_alone_end_it_early(limits, reached, said):
    sentence = cut_short(Budget(**NONE | limits), reached, 100)
    assert (sentence is not None) is said
    if sentence:
        assert "after 8 iterations of about 128 queries each" in sentence
        assert "budget.queries=12800" in sentence


def test_the_sentence_names_a_budget_with_which_the_run_goes_on(tmp_path, caplog):
    words = ["prox=sampled", "algorithm=omd", "equilibrium=never", "progress=false", f"runs_dir={tmp_path}"]
    with caplog.at_level(logging.WARNING, logger="nlhf"):
        first = run_one(configured(*words, "budget.queries=120"))
    assert "budget.queries=120 ended this run after 3 iterations of about 40 queries each" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="nlhf"):
        longer = run_one(configured(*words, "budget.queries=4000"))
    assert longer.folder == first.folder
    assert longer.summary["progress"]["iterations"] == [100]
    assert not caplog.text

"""A completed run that is asked for with a smaller budget gives the results of that budget, or refuses."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import nlhf
from nlhf.budget import DENSE, Budget
from nlhf.config import ConfigError
from nlhf.runner.within_budget import exceeds, limits, rows_within
from tests.launch.commands import GAME, command
from tests.selection import mostly_long

pytestmark = pytest.mark.usefixtures("one_thread")
NONE = {"queries": None, "iterations": None, "seconds": None, "target": None}


def run(folder, *overrides, **budget):
    given = [f"budget.{name}={'null' if value is None else value}" for name, value in (NONE | budget).items()]
    common = ["game=random_tournament", "game.actions=4", "seeds=[3,1]", "log_policy=true", "progress=false"]
    return nlhf.run([*common, f"runs_dir={folder}", *overrides, *given])


def rows(run):
    with (run.folder / "metrics.csv").open(newline="") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


SMALLER = (
    {"queries": 0},
    {"queries": 7},
    {"queries": 24},
    {"iterations": 1},
    {"iterations": 12},
    {"iterations": 13},
    {"target": 1e-3},
    {"target": 1e-5},
    {"iterations": 12, "target": 1e-2},
    {"queries": 24, "iterations": 5},
)


@pytest.mark.parametrize("budget", SMALLER, ids=str)
@pytest.mark.parametrize("algorithm", mostly_long(["nash_mp", "omd", "adaptive_nash_mp"], ["nash_mp"]))
def test_a_smaller_budget_gets_the_rows_that_a_run_with_it_leaves(tmp_path, algorithm, budget):
    alone = run(tmp_path / "alone", f"algorithm={algorithm}", **budget)
    run(tmp_path / "long", f"algorithm={algorithm}", iterations=600)
    cut = run(tmp_path / "long", f"algorithm={algorithm}", **budget)
    expected = alone.metrics.drop(columns="seconds")
    found = cut.metrics.drop(columns="seconds").sort_values(["iteration", "seed"], ignore_index=True)
    ends = expected.groupby("seed")["iteration"].max()
    known = found.groupby("seed")["iteration"].max()
    if all(map(DENSE.includes, ends)):
        assert (known == ends).all()
        np.testing.assert_array_equal(cut.log_policy, alone.log_policy)
    else:
        assert (known < ends).any()
        with pytest.raises(ConfigError, match="was not stored: use another study, or log_policy=true"):
            _ = cut.log_policy
    kept = expected[expected["iteration"] <= expected["seed"].map(known)]
    kept = kept.sort_values(["iteration", "seed"], ignore_index=True)
    assert found.equals(kept)


def test_without_stored_policies_a_smaller_budget_has_no_policy(tmp_path):
    run(tmp_path, "log_policy=false", iterations=60)
    cut = run(tmp_path, "log_policy=false", iterations=12)
    assert cut.metrics["iteration"].max() == 12
    assert cut.summary["budget"]["iterations"] == 60
    with pytest.raises(
        ConfigError, match=r"budget.iterations=12 is less than .* was run with \(budget.iterations=60\)"
    ):
        _ = cut.log_policy


def test_a_run_that_its_target_stopped_is_the_same_for_every_larger_limit(tmp_path):
    first = run(tmp_path, "log_policy=false", target=1e-3, iterations=100)
    again = run(tmp_path, "log_policy=false", target=1e-3, iterations=90)
    assert again.metrics.equals(first.metrics)
    assert (again.log_policy == first.log_policy).all()


@pytest.mark.parametrize(
    ("stored", "asked", "larger"),
    [
        ({"queries": 100}, {"queries": 100}, False),
        ({"queries": 100}, {"queries": 99}, True),
        ({"queries": 100}, {"queries": 101}, False),
        ({"queries": 100}, {"queries": 101, "target": 1e-3}, True),
        ({"queries": 100, "target": 1e-3}, {"queries": 100, "target": 1e-4}, False),
        ({"queries": 100, "target": 1e-4}, {"queries": 100, "target": 1e-3}, True),
        ({"queries": 100, "target": 1e-4}, {"queries": 100}, False),
        ({"seconds": 9.0}, {"iterations": 100}, True),
    ],
)
def test_which_budgets_are_larger(stored, asked, larger):
    assert exceeds({"status": "completed", "budget": NONE | stored}, Budget(**NONE | asked)) is larger


def test_limits_are_written_as_on_the_command_line():
    assert limits(NONE | {"queries": 1_000_000, "target": 1e-12}) == "budget.queries=1000000 budget.target=1e-12"


def test_the_row_after_a_gap_is_left_out_and_the_next_iteration_is_not():
    cells = [(0, 0), (1, 4), (2, 8), (4, 16), (5, 20)]
    table = [{"seed": "0", "iteration": str(k), "queries": str(q), "seconds": "0", "exploitability": "1"}
             for k, q in cells]  # fmt: skip
    known = ((5, 3, True), (8, 3, True), (9, 3, False), (16, 4, True), (17, 5, True), (99, 5, True))
    for queries, count, exact in known:
        kept, stops = rows_within(table, Budget(**NONE | {"queries": queries}))
        assert (len(kept), stops) == (count, exact)


@pytest.mark.parametrize("launcher", ["basic", "pool"])
@pytest.mark.parametrize("order", ["10,100,200", "200,100,10"])
def test_a_sweep_over_budgets_has_a_line_per_budget(tmp_path, launcher, order):
    budget = [word for word in GAME if not word.startswith("budget.queries")]
    arguments = ["-m", *budget, f"runs_dir={tmp_path}", f"hydra/launcher={launcher}", f"budget.queries={order}"]
    first, second = command(*arguments), command(*arguments)
    assert (first.code, second.code) == (0, 0)
    for queries in (10, 100, 200):
        assert f" after {queries} queries" in first.out
    assert second.out.count("(the run has budget.queries=200") == 2
    assert "3 skipped" in second.out
    shown = {line.partition("after ")[0].rpartition("exploitability ")[2] for line in first.out.splitlines()
             if "after" in line}  # fmt: skip
    assert len(shown) == 3


def test_a_single_command_names_both_budgets(tmp_path):
    arguments = (*GAME, f"runs_dir={tmp_path}")
    command(*arguments)
    done = command(*arguments, "budget.queries=10")
    assert "these are the results of budget.queries=200; at budget.queries=10 the run had exploitability" in done.out
    assert "note" not in command(*arguments).out

"""Repeating a sweep runs only what is missing; failures are contained, told at once and in a table, and exit with 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from nlhf.io.json_files import read_json, write_json
from tests.launch.commands import GAME, MAIN, command, results, rows

pytestmark = pytest.mark.usefixtures("one_thread")
FAILING = "algorithm._target_=tests.launch.plugins.Failing"


@pytest.fixture
def study(tmp_path):
    """A sweep's folder and the arguments that put it there."""
    return tmp_path / "runs" / "s", ["-m", *GAME, f"runs_dir={tmp_path / 'runs'}", "study=s"]


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def summaries(folder):
    """beta of every run, by the status in its summary."""
    found = {}
    for path in folder.glob("*/summary.json"):
        config = (path.parent / ".hydra" / "config.yaml").read_text()
        beta = next(line.partition(": ")[2] for line in config.splitlines() if line.startswith("beta:"))
        found.setdefault(json.loads(path.read_text())["status"], set()).add(float(beta))
    return found


def counts(done):
    """The last counts that a command printed."""
    return [line for line in done.out.splitlines() if line[:1].isdigit() and "DEBUG" not in line][-1]


# --- skipping, going on, retrying ------------------------------------------------------------------------------------


def test_what_is_completed_is_skipped_and_a_wider_sweep_runs_the_rest(study):
    folder, arguments = study
    first = command(*arguments, "beta=0.1,0.2")
    assert (first.code, counts(first)) == (0, "2 completed")
    before = contents(folder)
    again = command(*arguments, "beta=0.1,0.2")
    assert (again.code, counts(again)) == (0, "2 skipped")
    assert contents(folder) == before
    wider = command(*arguments, "beta=0.1,0.2,0.3")
    assert (wider.code, counts(wider)) == (0, "2 skipped, 1 completed")
    assert before.items() <= contents(folder).items()


def test_a_run_without_its_summary_goes_on_from_its_checkpoint(study):
    folder, arguments = study
    command(*arguments, "beta=0.1,0.2")
    undisturbed = results(folder)
    cut = next(folder.glob("*/summary.json"))
    cut.unlink()
    again = command(*arguments, "beta=0.1,0.2")
    assert (again.code, counts(again)) == (0, "1 skipped, 1 completed")
    assert "going on from iteration 100" in (cut.parent / "run.log").read_text()
    assert results(folder) == undisturbed


def test_a_larger_budget_continues_and_a_smaller_one_is_completed(study, tmp_path):
    folder, arguments = study
    command(*arguments, "beta=0.1,0.2")
    larger = command(*arguments, "beta=0.1,0.2", "budget.queries=300")
    assert (larger.code, counts(larger)) == (0, "2 completed")
    for run in folder.iterdir():
        assert "going on from iteration 100" in (run / "run.log").read_text()
        assert rows(run)[-1]["queries"] == "300"
    assert counts(command(*arguments, "beta=0.1,0.2", "budget.queries=100")) == "2 skipped"
    command(*arguments, "beta=0.1,0.2", "budget.queries=300", f"runs_dir={tmp_path / 'at_once'}")
    assert results(folder) == results(tmp_path / "at_once" / "s")


def test_failed_runs_are_retried_unless_they_are_to_be_left(study):
    folder, arguments = study
    failing = [*arguments, "beta=0.05,0.2", FAILING]
    first = command(*failing)
    assert (first.code, counts(first)) == (1, "1 failed, 1 completed")
    before = contents(folder)
    left = command(*failing, "retry_failed=false")
    assert (left.code, counts(left)) == (1, "1 failed before, 1 skipped")
    assert "  failed before: random_tournament-nash_mp-" in left.out
    assert "ArithmeticError: beta is below 0.1" in left.out
    assert contents(folder) == before
    again = command(*failing)
    assert (again.code, counts(again)) == (1, "1 skipped, 1 failed")
    log = next(path for path in folder.glob("*/run.log") if "Traceback" in path.read_text()).read_text()
    assert log.count("Traceback") == 2


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_runs_that_are_asked_for_twice_are_run_once_and_the_larger_budget_is_reached(study, launcher):
    folder, arguments = study
    twice = command(*arguments, "beta=0.1,0.10,1e-1", f"hydra/launcher={launcher}")
    assert (twice.code, counts(twice)) == (0, "1 completed")
    budgets = command(*arguments, "beta=0.1", "budget.queries=300,200,400", f"hydra/launcher={launcher}")
    assert budgets.code == 0
    (run,) = folder.iterdir()
    assert rows(run)[-1]["queries"] == "400"
    assert json.loads((run / "summary.json").read_text())["status"] == "completed"


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_is_told_in_one_line_at_once_and_in_the_table_and_the_rest_completes(study):
    folder, arguments = study
    done = command(*arguments, "beta=0.01,0.2,0.05,0.3", FAILING)
    assert (done.code, counts(done)) == (1, "2 failed, 2 completed")
    assert "Traceback" not in done.out + done.err
    lines = done.out.splitlines()
    told = [
        number for number, line in enumerate(lines) if line.endswith("  failed  ArithmeticError: beta is below 0.1")
    ]
    ends = [number for number, line in enumerate(lines) if "  completed  exploitability" in line]
    table = [line for line in lines if line.startswith("  failed: ")]
    assert len(told) == len(ends) == len(table) == 2
    assert told[0] < ends[0] < told[1] < ends[1]
    assert all(line.endswith("ArithmeticError: beta is below 0.1") for line in table)
    assert summaries(folder) == {"failed": {0.01, 0.05}, "completed": {0.2, 0.3}}


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_fail_fast_stops_at_the_first_failure_and_still_shows_the_table(study, launcher):
    folder, arguments = study
    options = ["hydra.launcher.workers=1"] if launcher == "pool" else []
    done = command(
        *arguments, "beta=0.2,0.05,0.3,0.4", FAILING, "fail_fast=true", f"hydra/launcher={launcher}", *options
    )
    assert (done.code, counts(done)) == (1, "1 completed, 1 failed, 2 unfinished")
    assert summaries(folder) == {"failed": {0.05}, "completed": {0.2}}
    assert done.out.count("  unfinished: ") == 2
    finished = command(*arguments, "beta=0.2,0.05,0.3,0.4", FAILING, "hydra/launcher=basic")
    assert (finished.code, counts(finished)) == (1, "1 skipped, 1 failed, 2 completed")


def test_refused_members_are_told_before_any_work_and_the_others_complete(study):
    folder, arguments = study
    done = command(*arguments, "beta=-1,0.2", "algorithm.step_size=1,x", "hydra/launcher=pool")
    assert (done.code, counts(done)) == (1, "3 refused, 1 completed")
    told = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 3
    assert all("beta=-1" in line or "algorithm.step_size=x" in line for line in told)
    assert len(list(folder.iterdir())) == 1


def test_an_option_that_no_run_can_have_is_refused_once(study):
    folder, arguments = study
    done = command(*arguments, "beta=0.1,0.2", "nope=1,2")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: nope is not a key: known keys are ")
    assert len(done.err.splitlines()) == 1
    assert not folder.exists()


# --- dry runs --------------------------------------------------------------------------------------------------------


def test_a_dry_run_of_a_sweep_shows_what_is_done_what_would_be_and_its_cost_and_runs_nothing(study):
    folder, arguments = study
    first = command(*arguments, "beta=0.1,0.2", "algorithm=nash_mp,omd", "dry_run=true")
    assert (first.code, counts(first)) == (0, "4 would run")
    assert "4 runs to do; no run of the kind was measured for 4" in first.out
    assert not folder.exists()
    command(*arguments, "beta=0.1,0.2")
    for path, seconds in zip(folder.glob("*/summary.json"), (10.0, 30.0), strict=True):
        write_json(path, read_json(path) | {"wall_seconds": seconds})
    before = contents(folder)
    done = command(*arguments, "beta=0.1,0.2,0.3,0.4", "algorithm=nash_mp,omd", "dry_run=true")
    assert (done.code, counts(done)) == (0, "2 skipped, 6 would run")
    assert "6 runs to do: about 40 s of one process; no run of the kind was measured for 4" in done.out
    plan = [line.split("  ") for line in done.out.splitlines() if line.startswith("random_tournament-")]
    assert sorted(line[1].strip() for line in plan) == ["completed"] * 2 + ["new"] * 6
    assert sum("about 20.0 s" in " ".join(line) for line in plan) == 2  # the median
    assert sum("beta=0.3 algorithm=omd" in " ".join(line) for line in plan) == 1
    elsewhere = command(*arguments, "study=other", "beta=0.1", "dry_run=true")
    assert "1 runs to do: about 20 s of one process" in elsewhere.out  # known from another study
    assert contents(folder) == before


def test_a_dry_run_of_one_run_says_whether_it_is_done(tmp_path):
    arguments = [*GAME, f"runs_dir={tmp_path}", "beta=0.1"]
    done = command(*arguments, "dry_run=true")
    assert done.code == 0
    assert "new" in done.out
    assert not list(tmp_path.iterdir())
    command(*arguments)
    assert "  completed\n0 runs to do\n" in command(*arguments, "dry_run=true").out
    refused = command(*arguments, "dry_run=true", "beta=-1")
    assert refused.code == 2
    assert refused.err.startswith("error: beta=-1")


def test_a_dry_run_shows_begun_failed_and_refused_members(study):
    folder, arguments = study
    command(*arguments, "beta=0.05,0.2", FAILING)
    cut = next(path for path in folder.glob("*/summary.json") if '"completed"' in path.read_text())
    cut.unlink()
    done = command(*arguments, "beta=-1,0.05,0.2,0.3", FAILING, "dry_run=true")
    assert (done.code, counts(done)) == (1, "1 refused, 3 would run")
    for state in ("failed ", "unfinished ", "new ", "refused"):
        assert sum(f"  {state}" in line for line in done.out.splitlines() if " beta=" in line) >= 1


def test_a_dry_run_under_a_sweeper_that_cannot_show_it_runs_nothing(study):
    folder, arguments = study
    done = command(*arguments, "beta=0.1,0.2", "dry_run=true", "hydra/sweeper=basic")
    assert (done.code, counts(done)) == (1, "2 refused")
    assert "dry_run=true is for single runs and for hydra/sweeper=study: leave it out." in done.err
    assert not list(folder.glob("*/summary.json"))


# --- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_a_sweep_of_completed_runs_imports_no_torch(study, launcher):
    _, arguments = study
    command(*arguments, "beta=0.1,0.2")
    script = (
        "import atexit, runpy, sys\natexit.register(lambda: print('torch' in sys.modules))\n"
        f"runpy.run_path({str(MAIN)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments, "beta=0.1,0.2", f"hydra/launcher={launcher}"],
                          env=os.environ | {"PYTHONPATH": str(MAIN.parent)}, capture_output=True, text=True,
                          timeout=600, check=True)  # fmt: skip
    assert "2 skipped" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"

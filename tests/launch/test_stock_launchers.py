"""Hydra's own launchers and its Optuna sweeper: the same files as ours, and values that a search can use."""

from __future__ import annotations

import importlib.util
import math

import pytest
import yaml

from tests.launch.commands import GAME, MAIN, command, results

pytestmark = pytest.mark.usefixtures("one_thread")
FAILING = "algorithm._target_=tests.launch.plugins.Failing"
PLUGINS = {"joblib": "hydra_joblib_launcher", "submitit_local": "hydra_submitit_launcher"}


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Of a sweep, whose processes find the tests' plug-ins and use one thread."""
    monkeypatch.setenv("PYTHONPATH", str(MAIN.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return ["-m", *GAME, f"runs_dir={tmp_path}"]


def needed(plugin):
    if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"{plugin} is not installed")


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.long)])
def test_a_stock_launcher_leaves_the_files_of_the_basic_one_and_contains_failures(tmp_path, arguments, launcher):
    needed(PLUGINS[launcher])
    arguments += [FAILING, "beta=0.05,0.2,0.3"]
    assert command(*arguments, "study=basic").code == 1
    done = command(*arguments, f"study={launcher}", f"hydra/launcher={launcher}", "fail_fast=false")
    assert done.code == 1
    assert "1 failed, 2 completed\n  failed: random_tournament-nash_mp-" in done.out
    assert "ArithmeticError: beta is below 0.1\n" in done.out
    assert results(tmp_path / launcher) == results(tmp_path / "basic")


def test_a_stock_launcher_is_given_only_what_is_missing(tmp_path, arguments):
    needed("hydra_joblib_launcher")
    assert command(*arguments, "study=s", "beta=0.1,0.2").code == 0
    done = command(*arguments, "study=s", "beta=0.1,0.2,0.3", "hydra/launcher=joblib")
    assert (done.code, len(results(tmp_path / "s"))) == (0, 3)
    assert "#0 : " in done.out
    assert "#1 : " not in done.out
    assert "2 skipped, 1 completed" in done.out


def test_under_submitit_a_failure_ends_no_task_without_a_result(tmp_path, arguments):
    needed("hydra_submitit_launcher")
    done = command(*arguments, "study=s", "beta=0.05", FAILING, "fail_fast=true", "hydra/launcher=submitit_local")
    assert done.code == 1
    assert "1 failed\n" in done.out
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_optuna_searches_on_whatever_fails_or_is_refused(tmp_path, arguments, launcher):
    needed("hydra_optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=3", "study=s", FAILING,
              f"hydra/launcher={launcher}", "budget.queries=10"]  # fmt: skip
    done = command(*arguments, *search, "beta=choice(0.05, 0.2)", "algorithm.step_size=choice(-1, 0.1, 1.5)")
    assert (done.code, "Traceback" in done.out + done.err) == (1, False)
    assert "2 completed" in done.out
    assert "2 refused" in done.out
    assert "2 failed" in done.out
    found = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
    finals = [summary["final"]["exploitability"] for _, _, summary in results(tmp_path / "s").values()
              if summary["status"] == "completed"]  # fmt: skip
    assert found["best_value"] == pytest.approx(math.log10(min(finals)))
    assert found["best_params"] == {"beta": 0.2, "algorithm.step_size": 1.5}


def test_optuna_tunes_a_step_size_in_an_interval(tmp_path, arguments):
    needed("hydra_optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", "study=s",
              "hydra.sweeper.sampler.seed=1", "hydra/launcher=pool", "budget.queries=10"]  # fmt: skip
    done = command(*arguments, *search, "algorithm.step_size=interval(0.01, 2)")
    assert (done.code, len(results(tmp_path / "s"))) == (0, 6)
    found = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
    finals = [summary["final"]["exploitability"] for _, _, summary in results(tmp_path / "s").values()]
    assert found["best_value"] == pytest.approx(math.log10(min(finals)))
    assert 0.01 < found["best_params"]["algorithm.step_size"] < 2

"""From the trainer to the report: runs that complete, are interrupted, killed and fail, and what is shown of each."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from nlhf.algorithms.nash_mp import NashMP
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures.convergence import PALE, convergence
from nlhf.analysis.figures.style import looks_of
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.run_one import run_one, unwatched
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")
GAME = ["game=random_tournament", "game.actions=4", "beta=0.1", "seeds=6", "progress=false"]


def run(root, *overrides, watch=unwatched):
    words = [*GAME, f"runs_dir={root}", *overrides]
    return run_one(configured(*words), watch, overrides=words).folder


@contextlib.contextmanager
def stopped(_):
    """Stops the run after five iterations."""

    def tick(progress, row):
        if progress.iterations.max() == 5:
            os.kill(os.getpid(), signal.SIGUSR1)

    yield tick


def diverge(self, state, prox):
    return replace(state, policy=TabularPolicy(state.policy.log_probabilities * float("nan")))


@pytest.fixture(scope="module")
def study(tmp_path_factory, one_thread):
    """A study with a run of every status."""
    root = tmp_path_factory.mktemp("runs")
    run(root, "algorithm=optimistic", "budget.iterations=33", "budget.target=1e-6")
    run(root, "algorithm=omd", "budget.iterations=60")
    run(root, "algorithm=nash_md", "algorithm.step_size=1", "budget.iterations=60", watch=stopped)
    killed = run(root, "algorithm=self_play", "budget.iterations=5")
    (killed / "summary.json").unlink()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(NashMP, "update", diverge)
        run(root, "algorithm=nash_mp")
    return root / "default"


def test_every_run_is_drawn_pale_or_not_by_what_became_of_it(study):
    results = analyse(study, Criterion(target=1e-3))
    rows = results.study.rows
    status = dict(zip(rows["algorithm"], rows["status"], strict=True))
    ended = {"optimistic": "completed", "omd": "completed", "nash_md": "interrupted"}
    assert status == ended | {"self_play": "unfinished", "nash_mp": "failed"}
    (axis,) = convergence(rows, results.criterion).axes
    names = {look.colour: name for name, look in looks_of(rows).items()}
    alpha = {names[line.get_color()]: line.get_alpha() for line in axis.lines if line.get_linestyle() == "-"}
    assert alpha == {name: 1.0 if status[name] == "completed" else PALE for name in status if name != "nash_mp"}


def test_the_bound_of_a_theorem_lies_above_what_was_measured(study):
    results = analyse(study, Criterion("kl_to_equilibrium"))
    (axis,) = convergence(results.study.rows, results.criterion).axes
    curves = {line.get_color(): line for line in axis.lines if line.get_linestyle() == "-"}
    bounds = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert len(bounds) >= 3
    for bound in bounds:
        curve = curves[bound.get_color()]
        measured = dict(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
        assert all(value >= measured[x] for x, value in zip(*bound.get_data(), strict=True))


def test_the_report_tells_what_failed_what_is_biased_and_how_to_run_it_again(study, tmp_path):
    results = analyse(study, Criterion(target=1e-3))
    summary = results.summary.set_index("algorithm")
    assert summary.loc["nash_mp", "failed"] == 1
    assert np.isinf(summary.loc["nash_mp", "final"])
    assert np.isnan(summary.loc["self_play", "final"])
    text = write(results, tmp_path).read_text(encoding="utf-8")
    for wanted in (
        "1 run failed",
        "2 runs did not end",
        "nash_md †",
        "algorithm.step_size=1",
        "@misc{arXiv-2312.00886",
    ):
        assert wanted in text, wanted

"""prox=sampled takes no longer steps than the noise of its answers allows, and the log shows the steps that it took."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nlhf.games.feedback import Feedback
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.exact import ClosedForm
from nlhf.prox.sampled import SampledProx
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.adversarial import matrix_game, uniform
from tests.composing import configured
from tests.test_contract import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

NOISY = ["prox=sampled", "feedback=vote", "prox.opponents=4", "game=random_tournament", "game.actions=20",
         "equilibrium=never", "budget.target=null"]  # fmt: skip


SAMPLED = ("nash_mp", "optimistic", "omd", "self_play", "nash_ema_pg", "inpo", "nash_md", "mpo", "nash_prox",
           "nash_prox_fast", "nash_mp_ema", "online_ipo", "nash_md_pg", "ipo_md", "sppo")  # fmt: skip


def trained(*overrides):
    run = specify(configured(*NOISY, *overrides))
    recorder = Recorder()
    assemble(run).trainer(run, recorder).run()
    return recorder.rows


def engine(beta, limit="theory", actions=5):
    game = matrix_game(uniform(actions, np.random.default_rng(0))[None])
    reference = TabularPolicy(torch.zeros(2, 1, actions, dtype=torch.float64).log_softmax(-1))
    parts = Parts(game, reference, torch.full((2, 1, 1), beta, dtype=torch.float64), [0, 1], Feedback(1, "given", 0, 0))
    return SampledProx(opponents=2, step_limit=limit).engine(parts)


@pytest.mark.parametrize(
    ("beta", "iteration", "expected"),
    [
        (0.1, 0, math.sqrt(math.log(5)) / 2),
        (0.1, 99, math.sqrt(math.log(5) / 100) / 2),
        (0.1, 9_999, 2 / (0.1 * 10_000)),
        (0.0, 9_999, math.sqrt(math.log(5) / 10_000) / 2),
    ],
)
def test_a_step_is_limited_seed_by_seed(beta, iteration, expected):
    prox = engine(beta)
    prox.iterations = np.array([iteration, 0])
    asked = torch.full((2, 1, 1), 2.0, dtype=torch.float64)
    first = math.sqrt(math.log(5)) / 2
    for step in (asked, asked * math.inf):
        assert prox.step(step).flatten().tolist() == pytest.approx([expected, first])
    prox.rate = 0.01  # a moving target takes a hundredth of a step
    assert prox.step(asked * math.inf).flatten().tolist() == pytest.approx([100 * expected, 100 * first])
    assert prox.step(asked).flatten().tolist() == pytest.approx([min(2.0, 100 * expected), 2.0])
    assert engine(beta, limit=None).step(asked) is asked


@pytest.mark.parametrize("algorithm", SAMPLED)
def test_the_log_shows_the_steps_that_were_taken(monkeypatch, algorithm):
    taken, call = {}, ClosedForm.solve

    def noted(self, problem):
        taken.setdefault(int(self.iterations[0]), []).append(float(problem.step_size[0]))
        return call(self, problem)

    monkeypatch.setattr(ClosedForm, "solve", noted)
    rows = trained(f"algorithm={algorithm}", "beta=0.3", "budget.queries=null", "budget.iterations=200")
    logged = {values["iteration"]: values["step_size"] for _, values, _ in rows if values["iteration"] < 200}
    for iteration, step in logged.items():
        scale = 1.0
        if algorithm == "nash_md" and iteration > 0:  # its lambda is the step of the engine times 1 - lambda beta
            scale = iteration / (iteration + 2)
        which = -1 if algorithm == "mpo" else 0  # the last problem of an iteration moves the anchor
        assert step == pytest.approx(scale * taken[iteration][which], rel=1e-12)
    if algorithm not in ("nash_prox", "nash_mp_ema"):  # whose target moves so slowly that no step is limited yet
        assert logged[150] < logged[10]


def test_steps_of_the_anytime_method_are_not_limited():
    """Its steps decrease already, and shorter ones would no longer weigh all answers alike."""
    policies = [trained("algorithm=sppo", "beta=0", "budget.queries=null", "budget.iterations=50",
                        f"prox.step_limit={limit}")[-1][2] for limit in ("theory", "null")]  # fmt: skip
    torch.testing.assert_close(*policies, rtol=0, atol=0)


def test_an_anchor_that_moves_every_ten_iterations_takes_ten_times_longer_steps():
    short = ["beta=0.3", "budget.queries=null", "budget.iterations=301"]
    steps = [trained(f"algorithm={name}", *short)[-2][1]["step_size"] for name in ("mpo", "omd")]
    assert steps[0] == pytest.approx(min(10 * steps[1], 1 / 0.3))


@pytest.mark.parametrize(("overrides", "cycles"), [
    (["prox=exact"], True), (["prox=sampled", "prox.step_limit=null"], True), (["prox=sampled"], False),
])  # fmt: skip
def test_only_constant_steps_have_the_caveat_of_cycles(overrides, cycles):
    run = specify(configured(*overrides, "algorithm=self_play", "beta=0.05"))
    assert ("cycle" in (run.method["caveat"] or "")) == cycles


def test_egpo_is_nash_mp_with_limited_steps_too():
    """Both ask the same questions with the same random numbers."""
    last = [trained(f"algorithm={name}", "beta=0.3", "budget.queries=null", "budget.iterations=60")[-1]
            for name in ("egpo", "nash_mp")]  # fmt: skip
    assert (last[0][2] - last[1][2]).abs().max() < 1e-10
    assert last[0][1]["step_size"] == last[1][1]["step_size"] < 0.2


@pytest.mark.parametrize("algorithm", ["nash_mp", "optimistic", "omd"])
def test_votes_improve_a_policy_that_a_constant_step_makes_worse(algorithm):
    def change(limit):
        rows = trained(f"algorithm={algorithm}", "seeds=2", "budget.queries=50000", f"prox.step_limit={limit}")
        first, last = ({seed: values["exploitability"] for seed, values, _ in order} for order in (rows[::-1], rows))
        return sum(last.values()) / sum(first.values())

    assert change("theory") < 0.25
    assert change("theory") < change("null") / 2

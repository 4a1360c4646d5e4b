"""The column `kl_bound` is a promise: it holds in every row, and is empty where no theorem covers the steps."""

from __future__ import annotations

import math

import pytest

from nlhf.equilibria.metrics import Grades
from nlhf.launch.compose import composed, plain
from nlhf.prox.exact import ExactProx
from nlhf.prox.gradient import GradientProx
from nlhf.prox.sampled import SampledProx
from tests.test_contract import ALGORITHMS, refused, trained

pytestmark = pytest.mark.usefixtures("one_thread")

GAME = ["game=random_tournament", "game.actions=8", "reference=random", "seeds=2"]
BOUNDED = {"nash_mp", "omd", "optimistic", "egpo", "nash_md", "adaptive_nash_mp", "adaptive_optimistic", "secant",
           "proximal_point", "mpo", "comal", "inpo"}  # fmt: skip
INEXACT = {
    "sampled": ["prox=sampled", "prox.opponents=8"],
    "one gradient step": ["prox=gradient", "prox.samples=null", "prox.contexts=null", "prox.inner_steps=1"],
    "many gradient steps": ["prox=gradient", "prox.samples=null", "prox.contexts=null", "prox.inner_steps=30"],
    "sampled gradients": ["prox=gradient", "prox.samples=2", "prox.contexts=null"],
}


def config(folder, *words):
    limits = ["budget.target=null", "budget.queries=null", "budget.iterations=60", f"runs_dir={folder}"]
    with composed([*GAME, *limits, *words]) as made:
        return plain(made)


def rows(made):
    return [values for _, values, _ in trained(made)[1].rows]


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.long)])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bound_of_exact_steps_is_never_exceeded(tmp_path, algorithm, dtype):
    bounded = 0
    for beta in (0.02, 0.2, 0.6, 2.0):
        made = config(tmp_path, f"algorithm={algorithm}", f"beta={beta}", f"dtype={dtype}")
        if refused(made):
            continue
        for values in rows(made):
            measured, bound = values["kl_to_equilibrium"], values["kl_bound"]
            assert math.isfinite(measured)
            assert not measured > bound
            bounded += math.isfinite(bound)
    assert bounded or algorithm not in BOUNDED


@pytest.mark.parametrize("steps", INEXACT)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_inexact_steps_have_no_bound(tmp_path, algorithm, steps):
    made = config(tmp_path, *INEXACT[steps], f"algorithm={algorithm}", "beta=0.6", "budget.iterations=3")
    if refused(made):
        return
    assert all(math.isnan(values["kl_bound"]) for values in rows(made))


def test_inexact_steps_break_what_the_theorem_says_of_exact_ones(tmp_path):
    """Otherwise nothing would be wrong with filling the column."""
    for words in (INEXACT["sampled"], INEXACT["one gradient step"]):
        first, *_, last = rows(config(tmp_path, *words, "algorithm=nash_mp", "beta=0.6"))
        assert last["kl_to_equilibrium"] > 1e3 * (1 + 2 * 0.6) ** -60 * first["kl_to_equilibrium"]


def test_engines_declare_whether_they_are_exact():
    assert ExactProx().exact
    assert not SampledProx(opponents=1000, step_limit=None).exact
    assert not GradientProx(surrogate="ipo", inner_steps=1000, contexts=None, samples=None, baseline="half",
                            beta_dpo=1.0, optimiser="adam", learning_rate=0.1, decay_steps=None, momentum=0.9,
                            clip=None, carry=True).exact  # fmt: skip


def test_a_measure_that_says_nothing_promises_nothing():
    """As that of language models, whose equilibrium nobody knows."""
    import torch

    assert Grades.promised(object(), torch.ones(1, 1, 1)).isnan().all()  # type: ignore[arg-type]

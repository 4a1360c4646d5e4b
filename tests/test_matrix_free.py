"""Equilibria from products alone: against factorised matrices, linear programmes, and what theory says of the cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nlhf
from nlhf.equilibria.metrics import exploitability_floor
from nlhf.equilibria.problems import Dense, MatrixFree
from nlhf.equilibria.solve import solve, solve_matrix_free
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame
from tests.adversarial import FAMILIES, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")
every_family = pytest.mark.parametrize("family", FAMILIES)


class Counting:
    """A game that counts how often it is asked."""

    def __init__(self, game):
        self.game, self.asked = game, 0

    def payoff(self, probabilities):
        self.asked += 1
        return self.game.payoff(probabilities)


def batch(family, n, seeds, contexts, seed=0):
    rng = np.random.default_rng(seed)
    tables = [np.stack([FAMILIES[family](n, rng) for _ in range(contexts)]) for _ in range(seeds)]
    advantage = torch.stack([matrix_game(table).dense()[0] for table in tables])
    names = tuple(map(str, range(n))), tuple(map(str, range(contexts)))
    return MatrixGame(advantage, *names), rng


@every_family
@pytest.mark.parametrize(("n", "scales", "strengths"), [
    (2, (0.0, 3.0, 30.0), (1e-4, 1e-2, 1.0, 100.0)),
    pytest.param(50, (0.0, 3.0, 30.0), (1e-4, 1e-3, 1e-1), marks=pytest.mark.long),
    (20, (0.0, 30.0), (1e-3, 1e-1)),
])  # fmt: skip
def test_products_alone_reach_rounding_as_a_factorised_matrix_does(family, n, scales, strengths):
    game, rng = batch(family, n, 2, len(scales))
    log_reference = torch.stack([torch.stack([log_policy(scale, (n,), rng) for scale in scales]) for _ in range(2)])
    for beta in strengths:
        found = solve_matrix_free(game, log_reference, beta)
        known = solve(game.dense().reshape(-1, n, n), log_reference.reshape(-1, n), beta)
        assert found.certified.all()
        assert (found.exploitability <= 30 * exploitability_floor(found.log_policy, log_reference, beta)).all()
        mass = (found.log_policy.exp() - known.log_policy.view_as(found.log_policy).exp()).abs()
        assert mass.max() < 1e-11


@every_family
def test_one_equation_is_solved_as_by_factorisation(family):
    game, rng = batch(family, 30, 1, 4)
    point = torch.from_numpy(rng.standard_normal((4, 30))).log_softmax(-1)
    beta = torch.tensor([[1.0], [0.1], [0.01], [0.003]], dtype=torch.float64)
    right = torch.from_numpy(rng.standard_normal((4, 30)))
    free, dense = MatrixFree(game, (1, 4)), Dense(game.dense()[0])
    found, known = (problem.solve(point, beta, right) for problem in (free, dense))
    assert (found - known).abs().max() < 1e-6 * known.abs().max()


@pytest.mark.parametrize("rank", [2, 6])
def test_an_equation_of_rank_d_takes_at_most_d_and_two_products(rank):
    game = Counting(LowRank(4000, rank, 1, 1.5).build([0]))
    problem = MatrixFree(game, (1, 1))
    point = torch.full((1, 4000), -np.log(4000), dtype=torch.float64)
    right = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4000)))
    solved = problem.solve(point, torch.full((1, 1), 0.01, dtype=torch.float64), right)
    assert game.asked <= rank + 2
    policy = point.exp()
    centred = policy * (solved - (policy * solved).sum())
    image = solved - game.payoff(centred.view(1, 1, -1)).view(1, -1) / 0.01
    assert (image - right).abs().max() < 1e-8


@every_family
def test_at_beta_0_the_proximal_point_finds_what_nothing_gains_on(family):
    game, _ = batch(family, 40, 2, 1)
    found = solve_matrix_free(game, torch.full((2, 1, 40), -np.log(40), dtype=torch.float64), 0.0)
    assert found.certified.all()
    assert ((game.dense() @ found.log_policy.exp()[..., None]).amax((-1, -2)) <= 1e-12).all()
    assert not found.unique.any()  # nothing is claimed


def test_a_game_that_is_too_large_to_factorise_has_its_columns(tmp_path):
    words = ["game=low_rank", "game.actions=30000", "game.rank=4", "beta=0.02", "algorithm=optimistic", "seeds=2",
             "budget.iterations=2000", "budget.queries=null", "budget.target=1e-20",
             f"runs_dir={tmp_path}"]  # fmt: skip
    run = nlhf.run(words)
    known = run.summary["equilibrium"]
    assert known["method"] == "newton-krylov"
    assert known["certified"]
    last = run.metrics.groupby("seed").last()
    assert (last.kl_to_equilibrium < 1e-17).all()
    assert (run.metrics.kl_to_equilibrium <= run.metrics.kl_bound * (1 + 1e-9) + 1e-25).all()
    again = nlhf.run([*words, "algorithm=nash_mp", "budget.iterations=5"])
    assert again.metrics.kl_to_equilibrium[0] == run.metrics.kl_to_equilibrium[0]
    assert len(list((tmp_path / ".equilibria").iterdir())) == 1  # found once


def test_a_large_game_at_beta_0_is_certified_by_what_nothing_gains(tmp_path):
    run = nlhf.run(["game=low_rank", "game.actions=5000", "game.rank=4", "beta=0", "algorithm=optimistic",
                    "algorithm.step_size=0.5", "budget.iterations=3", f"runs_dir={tmp_path}"])  # fmt: skip
    known = run.summary["equilibrium"]
    assert known["method"] == "proximal point"
    assert known["certified"]
    assert known["exploitability"] <= 1e-12
    assert run.metrics.kl_to_equilibrium.isna().all()  # it is not known to be the only one

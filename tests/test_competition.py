"""Games against several competitors, by enumeration of all competitors, and the equilibria of theory."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nlhf.config import ConfigError, build
from nlhf.equilibria.certificates import Equilibrium
from nlhf.equilibria.solve import solve, solve_matrix_free
from nlhf.games.competition import CompetitionGame
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")


def game_of(seed: int, n: int = 5, types: int = 3, k: int = 2, levels: int = 4) -> CompetitionGame:
    """Scores with ties."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (types, n))
    return CompetitionGame.of([scores], [rng.dirichlet(np.ones(types))], k, [f"a{i}" for i in range(n)])


def policy_of(seed: int, n: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(n)))[None, None]


def picked(game: CompetitionGame, policy: np.ndarray) -> np.ndarray:
    """The probability that each answer is picked, over all draws of competitors."""
    ranks, weights = game.ranks[0].numpy(), game.weights[0].numpy()
    n, total = len(policy), np.zeros(len(policy))
    for others in product(range(n), repeat=game.competitors):
        chance = policy[list(others)].prod()
        for rank, weight in zip(ranks, weights, strict=True):
            best = rank[list(others)].max()
            tied = (rank[list(others)] == rank[:, None]).sum(1)
            total += chance * weight * np.where(rank > best, 1.0, np.where(rank == best, 1 / (1 + tied), 0.0))
    return total


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_gains_are_those_of_all_draws_of_competitors(seed, k):
    game, policy = game_of(seed, k=k), policy_of(seed)
    expected = picked(game, policy[0, 0].numpy())
    assert game.payoff(policy)[0, 0].numpy() * k + 1 / (k + 1) == pytest.approx(expected, abs=1e-14)
    assert (policy * game.payoff(policy)).sum().abs() < 1e-15


@pytest.mark.parametrize("seed", range(4))
def test_one_competitor_is_the_game_of_pairs(seed):
    game, policy = game_of(seed, k=1), policy_of(seed)
    assert torch.allclose(game.payoff(policy), (game.dense() @ policy[..., None])[..., 0], atol=1e-15)
    pairs = torch.tensor([[[0, 1], [2, 3], [4, 0]]])
    answers = game.compare(torch.zeros(1, 3, dtype=torch.int64), pairs[..., :1], pairs[..., 1:])
    expected = [game.dense()[0, 0, i, j].item() for i, j in pairs[0].tolist()]
    assert answers.flatten().tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_derivative_is_that_of_differences(seed, k):
    game, policy = game_of(seed, k=k), policy_of(seed)
    derivative, width = game.derivative(policy)[0, 0], 1e-6
    for j in range(5):
        shift = width * torch.eye(5, dtype=torch.float64)[j]
        slope = (game.payoff(policy + shift) - game.payoff(policy - shift))[0, 0] / (2 * width)
        assert torch.allclose(derivative[:, j], slope, atol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 8])
def test_gains_are_monotone(k):
    """(u(p) - u(q)).(p - q) <= 0, on which every convergence theorem rests; 0 for k = 1."""
    for seed in range(200):
        game, first, second = game_of(seed, k=k), policy_of(2 * seed), policy_of(2 * seed + 1)
        product_ = ((game.payoff(first) - game.payoff(second)) * (first - second)).sum().item()
        assert product_ <= 1e-15
        assert k > 1 or abs(product_) < 1e-15


def equilibrium(game: CompetitionGame, beta: float) -> Equilibrium:
    n = len(game.items)
    return solve_matrix_free(game, torch.full((1, 1, n), -np.log(n), dtype=torch.float64), beta / game.competitors)


def test_the_equilibrium_promises_what_theory_computed() -> None:
    """Six answers, five types; numbers of an independent program at beta = 1e-3."""
    rng = np.random.default_rng(0)
    scores = np.array([rng.permutation(6) for _ in range(5)])
    weights = rng.dirichlet(np.ones(5))
    games = {k: CompetitionGame.of([scores], [weights], k, "abcdef") for k in (1, 4, 8)}
    policies = {k: equilibrium(game, 1e-3).log_policy.exp() for k, game in games.items()}

    def largest(k: int, policy: torch.Tensor) -> float:
        return games[k].payoff(policy).max().item() * k + 1 / (k + 1)

    assert largest(4, policies[4]) == pytest.approx(0.2003, abs=5e-5)
    assert largest(8, policies[8]) == pytest.approx(0.1114, abs=5e-5)
    assert [largest(k, policies[1]) for k in (4, 8)] == pytest.approx([0.2873, 0.2873], abs=5e-5)


@pytest.mark.parametrize("beta", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_equilibria_are_certified(k, beta):
    for seed in range(5):
        found = equilibrium(game_of(seed, n=8, types=4, k=k, levels=8), beta)
        assert found.certified.all()
        if beta == 0:  # k samples beat every single answer with probability k/(k+1)
            assert found.exploitability.max() < 1e-14


def test_the_equilibrium_against_one_competitor_is_that_of_the_matrix():
    game = game_of(1, n=6, types=5, k=1)
    log_reference = torch.full((1, 6), -np.log(6), dtype=torch.float64)
    expected = solve(game.dense()[0], log_reference, 0.05).log_policy
    assert torch.allclose(equilibrium(game, 0.05).log_policy[0], expected, atol=1e-12)


def config(*overrides: str) -> dict[str, Any]:
    fixed = ["game=annotators", "game.actions=8", "game.annotators=5", "budget.target=null", "progress=false"]
    return configured(*fixed, *overrides)


@pytest.mark.parametrize("algorithm", ["nash_mp", "optimistic", "omd", "adaptive_nash_mp", "adaptive_optimistic"])
@pytest.mark.parametrize("k", [1, 4])
def test_algorithms_converge_and_keep_their_bounds(tmp_path, algorithm, k):
    words = f"game.competitors={k}", f"algorithm={algorithm}", "beta=0.1", "budget.queries=600", f"runs_dir={tmp_path}"
    rows = pd.read_csv(run_one(config(*words)).folder / "metrics.csv")
    assert rows["kl_to_equilibrium"].iloc[-1] < (1e-10 if algorithm != "omd" else 1e-2)
    bounded = rows.dropna(subset="kl_bound")
    assert (bounded["kl_to_equilibrium"] <= bounded["kl_bound"] * (1 + 1e-9) + 1e-25).all()
    assert len(bounded) == len(rows) or algorithm in ("omd", "optimistic")


def test_one_competitor_and_theory_steps_give_the_rows_of_the_matrix_game(tmp_path):
    """The same rankings as a matrix of majorities of each annotator."""
    outcome = run_one(config("game.competitors=1", "beta=0.05", "budget.queries=200", f"runs_dir={tmp_path}"))
    with np.load(outcome.folder / "game.npz") as saved:
        np.save(tmp_path / "matrix.npy", saved["preference"][0, 0])
    words = ["game=matrix", f"game.path={tmp_path / 'matrix.npy'}", "beta=0.05", "budget.queries=200"]
    other = run_one(configured(*words, "budget.target=null", "progress=false", f"runs_dir={tmp_path}"))
    tables = [pd.read_csv(each.folder / "metrics.csv") for each in (outcome, other)]
    for column in ("exploitability", "kl_to_equilibrium", "win_rate_vs_reference", "kl_to_reference"):
        assert tables[0][column].to_numpy() == pytest.approx(tables[1][column].to_numpy(), rel=1e-6, abs=1e-13)


def test_voters_who_rank_all_items_are_the_types(tmp_path, caplog):
    rows = ["item_a,item_b,wins_a,wins_b,voter"]
    rows += [f"{a},{b},1,0,{voter}" for voter, order in (("ann", "xyz"), ("ben", "zxy"), ("cy", "zyx"))
             for a, b in (order[:2], order[1:], order[::2])]  # fmt: skip
    path = tmp_path / "votes.csv"
    path.write_text("\n".join([*rows, "x,y,1,0,dan"]) + "\n")
    words = ["game=votes", f"game.path={path}", "game.cluster=[voter]", "game.competitors=3"]
    game = build(configured(*words)["game"], "game").build([0])
    assert game.ranks[0].tolist() == [[2, 1, 0], [1, 0, 2], [0, 1, 2]]
    assert game.weights.tolist() == [[1 / 3] * 3]
    assert "1 of 4 values of voter have no vote on some pair and are not used" in caplog.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["game.competitors=0"], "game.competitors=0 is too small"),
        (["algorithm=secant"], "algorithm=secant needs answers that are linear in the policy: set game.competitors="),
        (["algorithm=restarted_optimistic", "beta=0"], "needs answers that are linear"),
        (["prox=sampled", "algorithm=nash_prox"], "needs a game that answers pairs"),
        (["game.payoff=sign"], "game.payoff=sign needs the table of all pairs"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        specify(config("game.competitors=2", *words)).game.build([0])


def test_votes_without_rankings_are_refused(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("item_a,item_b,wins_a,wins_b,voter\nx,y,1,0,ann\ny,z,1,0,ben\n")
    words = ["game=votes", f"game.path={path}", "game.competitors=3"]
    with pytest.raises(ConfigError, match=r"needs the rankings of voters: name their column in game\.cluster"):
        build(configured(*words)["game"], "game")
    with pytest.raises(ConfigError, match="none of 2 values of voter has votes on all pairs"):
        build(configured(*words, "game.cluster=[voter]")["game"], "game").build([0])

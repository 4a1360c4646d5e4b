"""Bounds of exploitability from votes: against other computations, against real votes, and by simulated studies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.stats.certified import RHO, VoteBounds
from nlhf.stats.minimax import ACCURACY, FINEST, conic_minimax, linear_minimax

N = 5


def random_game(seed, n=N):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)


def cast(preference, votes, seed):
    """The wins of a number of votes on every pair."""
    rng = np.random.default_rng(seed)
    wins = np.triu(rng.binomial(votes, preference), 1).astype(float)
    total = np.full(preference.shape, float(votes)) * (1 - np.eye(len(preference)))
    return wins + np.tril(total - wins.T, -1), total


def exploitability(preference, policy):
    return max(float(((preference - 0.5) @ policy).max()), 0.0)


@pytest.mark.parametrize("ties", [False, True])
def test_one_look_bounds_are_those_of_scipy(ties):
    rng = np.random.default_rng(0)
    wins = rng.integers(0, 40, (N, N)).astype(float)
    wins[0, 1] = 0.0
    np.fill_diagonal(wins, 0.0)
    votes = wins + wins.T
    even = 0.5 * ties * (1 - np.eye(N))  # one tie for each pair
    upper = VoteBounds.once(wins + even, votes + 2 * even, 0.05, ties=ties).upper
    for i, j in itertools.permutations(range(N), 2):
        level = 1 - 0.05 / 10 / (np.e if ties else 1)
        known = stats.binomtest(int(wins[i, j] + ties), int(votes[i, j] + ties)).proportion_ci(level, "exact")
        assert upper[i, j] + 0.5 == pytest.approx(known.high, abs=1e-12)
    assert (upper.diagonal() == 0).all()


def test_one_look_bounds_hold_with_ties():
    """Votes 0, 1/2 and 1 on two items, whose sum has other tails than a binomial variable."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(4000):
        lose, tie = rng.dirichlet([0.4, 0.4, 0.4])[:2]
        won = float(rng.choice([0.0, 0.5, 1.0], 12, p=[lose, tie, 1 - lose - tie]).sum())
        upper = VoteBounds.once(np.array([[0, won], [12 - won, 0]]), 12 * (1 - np.eye(2)), 0.1).upper
        advantage = tie / 2 + 1 - lose - tie - 0.5
        wrong += not -upper[1, 0] - 1e-9 <= advantage <= upper[0, 1] + 1e-9
    assert wrong / 4000 <= 0.1


def test_the_anytime_bound_is_where_the_mixture_exceeds_the_likelihood_by_the_allowed_factor():
    wins, votes = cast(random_game(0), 30, 1)
    upper = VoteBounds.anytime(wins, votes, 0.1).upper
    grid = np.linspace(0, 1, 200_001)
    for i, j in itertools.permutations(range(N), 2):
        likelihood = stats.binom.pmf(wins[i, j], 30, grid) * 31  # the mixture gives every number of wins 1/31
        assert upper[i, j] + 0.5 == pytest.approx(grid[likelihood >= 0.05 / 10].max(), abs=1e-5)


def test_pairs_without_votes_prove_nothing():
    nothing = np.zeros((3, 3))
    for bounds in (VoteBounds.once(nothing, nothing, 0.05, ties=False), VoteBounds.anytime(nothing, nothing, 0.05)):
        assert (bounds.upper == 0.5 * (1 - np.eye(3))).all()
        policy, value = bounds.best()
        assert value == pytest.approx(1 / 3)
        assert policy == pytest.approx(np.full(3, 1 / 3))
        assert bounds.shares()[0] == pytest.approx(np.zeros(3))
        assert bounds.shares()[1] == pytest.approx(np.ones(3))


def test_the_bound_of_mixtures_is_the_largest_gain_within_its_ellipsoid():
    wins, votes = cast(random_game(2), 400, 3)
    bounds, rng = VoteBounds.anytime(wins, votes, 0.1), np.random.default_rng(4)
    policy, direction = rng.dirichlet(np.ones(N)), rng.standard_normal((20_000, N))
    chi = (np.log(N / 0.05) + 4 * np.log1p(400 / RHO) / 2) / 2
    for y in range(N):
        sums = np.delete(direction, y, 1)  # of the noise of the other pairs: sum_j S_j^2/(N_j + rho) = chi
        sums *= np.sqrt(chi * (400 + RHO) / (sums**2).sum(1))[:, None]
        gains = np.delete(bounds.estimate[y], y) @ np.delete(policy, y) + (sums / 400) @ np.delete(policy, y)
        limit = bounds.of_mixture(policy)[y]
        assert gains.max() <= limit + 1e-12
        assert gains.max() > limit - 2e-3


@pytest.mark.parametrize("seed", range(4))
def test_no_policy_is_certified_better_than_the_best(seed):
    wins, votes = cast(random_game(seed), (20, 200, 2000, 20_000)[seed], seed)
    bounds, rng = VoteBounds.anytime(wins, votes, 0.05), np.random.default_rng(seed)
    policy, value = bounds.best()
    assert value == pytest.approx(bounds.exploitability(policy))
    separate = min((bounds.upper @ linear_minimax(bounds.upper)).max(), value)
    nearby = rng.dirichlet(1 + 500 * policy, 300)
    for other in [*rng.dirichlet(np.ones(N), 300), *nearby, *np.eye(N)]:
        for gains in (bounds.upper @ other, bounds.of_mixture(other)):
            assert gains.max() * 1.005 >= min(separate, value) - 1e-9


def smallest_by_cuts(rows, spread, cuts=400):
    """A lower bound of the smallest maximum of rows @ q + sqrt(spread @ q^2) over probabilities q, by Kelley's cuts."""
    q, tangents = np.full(len(rows), 1 / len(rows)), np.empty((0, len(rows)))
    best, smallest, least = q, np.inf, -np.inf
    for _ in range(cuts):
        root = np.sqrt(spread @ q**2)
        bounds, slopes = rows @ q + root, rows + spread * q / np.maximum(root, 1e-300)[:, None]
        if bounds.max() < smallest:
            best, smallest = q, bounds.max()
        if smallest - least <= 1e-4 * smallest + 1e-7:
            break
        tangents = np.concatenate([tangents, slopes[bounds > least]])
        q = linear_minimax(tangents)
        least = (tangents @ q).max()
        q = (q + best) / 2
    return least


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("votes", [4, 60, 3000, 10**6])
def test_the_best_mixture_is_that_of_cutting_planes(n, votes):
    rng = np.random.default_rng(n + votes)
    wins, total = cast(random_game(n, n), votes, 0)
    keep = np.triu(rng.random((n, n)) < 0.8, 1)
    keep = keep + keep.T
    bounds = VoteBounds.anytime(wins * keep, total * keep, 0.05)
    rows = np.where(keep | np.eye(n, dtype=bool), bounds.estimate, 0.5)
    q = conic_minimax(rows, bounds.spread)
    value = (rows @ q + np.sqrt(bounds.spread @ q**2)).max()
    assert q.sum() == pytest.approx(1)
    assert (q >= 0).all()
    least = smallest_by_cuts(rows, bounds.spread)
    assert least - 1e-9 <= value <= least * (1 + ACCURACY) + FINEST + 1e-4 * abs(least) + 1e-7


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_true_advantages_as_bounds_give_the_true_exploitability(beta):
    preference, rng = random_game(5), np.random.default_rng(6)
    policy, reference = rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(N))
    gain = (preference - 0.5) @ policy
    responses = rng.dirichlet(np.full(N, 0.5), 20_000)
    terms = (responses * np.log(responses / reference)).sum(1) if beta else 0.0
    largest = (responses @ gain - beta * terms).max() + beta * (policy * np.log(policy / reference)).sum()
    found = VoteBounds(preference - 0.5).exploitability(policy, beta, reference)
    assert largest <= found + 1e-12
    assert found == pytest.approx(gain.max() if beta == 0 else largest, abs=0.02)


@pytest.mark.parametrize(
    ("name", "item", "value", "ours"),
    [
        ("mtbench_human", "gpt-4", 0.015, 0.0235),
        ("vicuna80_human", "gpt4", 0.0, 0.0),
        ("tversky1969", "a", 0.075, 0.0844),
    ],
)
def test_real_votes_certify_the_best_model(name, item, value, ours):
    """`value` takes half votes that are rounded as binomial, without the factor e, in a separate computation."""
    options = {"where": {}, "drop": [], "pseudo_count": 0.0, "unseen": "half", "cluster": [], "bootstrap": False}
    game = Votes(path=InputFile(f"embedded:{name}.csv", "game.path"), context=[], **options)
    table = game.table(np.random.default_rng(0))
    policy, found = VoteBounds.once(table.wins[0], table.votes[0, 0], 0.05).best()
    assert table.items[int(policy.argmax())] == item
    assert found == pytest.approx(ours, abs=5e-4)
    without = VoteBounds.once(table.wins[0], table.votes[0, 0], 0.05 * np.e).best()[1]
    assert without == pytest.approx(value, abs=5e-4)


def test_a_bound_for_one_look_fails_when_votes_are_added_until_it_fails():
    """The reason for the bounds at any time: two even items, looked at after every 20 votes."""
    wrong = {"once": 0, "anytime": 0}
    for seed in range(50):
        total = np.cumsum(np.random.default_rng(seed).random(2000) < 0.5)
        for kind in wrong:
            for count in range(10, 2000, 20):
                won = float(total[count - 1])
                wins, votes = np.array([[0, won], [count - won, 0]]), float(count) * (1 - np.eye(2))
                made = (
                    VoteBounds.once(wins, votes, 0.1, ties=False)
                    if kind == "once"
                    else VoteBounds.anytime(wins, votes, 0.1)
                )
                if (made.upper < 0).any():
                    wrong[kind] += 1
                    break
    assert wrong["once"] > 10
    assert wrong["anytime"] <= 5


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_of_an_equilibrium_lie_between_their_ends(seed):
    preference = random_game(seed)
    equilibrium = linear_minimax(preference - 0.5)
    low, high = VoteBounds.anytime(*cast(preference, 500, seed), 0.05).shares()
    assert (low <= equilibrium + 1e-9).all()
    assert (equilibrium <= high + 1e-9).all()
    exact = VoteBounds(preference - 0.5).shares()
    assert np.abs(np.array(exact) - equilibrium).max() < 1e-6  # a random tournament has one equilibrium


def test_bounds_that_contradict_each_other_allow_no_shares():
    upper = np.array([[0.0, -0.1, -0.1], [-0.1, 0.0, -0.1], [-0.1, -0.1, 0.0]])  # every item loses to every other one
    assert VoteBounds(upper).shares() is None

"""Equilibria at beta = 0 by the interior point method, against linear programmes, on games that are hard for it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.optimize import linprog

from nlhf.equilibria import interior, winners
from nlhf.equilibria.solve import solve
from nlhf.equilibria.uniqueness import unique_winners

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = (2, 3, 4, 5, 6, 7, 9, 12, 20)
GAMES = 14  # of each family and size: 2,016 in all


def skew(upper):
    above = np.triu(upper, 1)
    return above - above.T


def copied(matrix, n, rng):
    """A game of n actions with copies of the actions of a smaller one."""
    order = np.r_[: len(matrix), rng.integers(0, len(matrix), n - len(matrix))]
    return matrix[np.ix_(order, order)]


def low_rank(n, rank, rng):
    first, second = rng.standard_normal((2, n, rank))
    return skew(first @ second.T - second @ first.T)


def chain(n, rng):
    order = rng.permutation(n)
    return skew(np.ones((n, n)))[np.ix_(order, order)]


def circle(n, rng):
    angle = 2 * np.pi * np.sort(rng.random(n))
    return skew(np.sign(np.sin(angle[:, None] - angle)))


def bradley_terry(n, rng):
    rating = 2 * rng.standard_normal(n)
    return skew(1 / (1 + np.exp(rating - rating[:, None])) - 0.5)


FAMILIES = {
    "integers": lambda n, rng: skew(rng.integers(-2, 3, (n, n)).astype(float)),
    "ties": lambda n, rng: skew(rng.integers(-1, 2, (n, n)).astype(float)),
    "tournament": lambda n, rng: skew(rng.integers(0, 2, (n, n)) * 2.0 - 1),
    "uniform": lambda n, rng: skew(rng.random((n, n)) - 0.5),
    "sparse": lambda n, rng: skew(np.where(rng.random((n, n)) < 0.2, rng.standard_normal((n, n)), 0.0)),
    "zeros": lambda n, _: np.zeros((n, n)),
    "copies": lambda n, rng: copied(FAMILIES["uniform"](max(2, n // 2), rng), n, rng),
    "copies in a tournament": lambda n, rng: copied(FAMILIES["tournament"](max(2, n // 2), rng), n, rng),
    "chain": chain,
    "chain of steps": lambda n, rng: skew((np.arange(n)[:, None] - np.arange(n)) * rng.random()),
    "magnitudes": lambda n, rng: skew(10.0 ** -rng.integers(0, 6, (n, n))),
    "circle": circle,
    "cycle": lambda n, _: skew(np.sign(n - 2.0 * ((np.arange(n)[:, None] - np.arange(n)) % n))),
    "rank 4": lambda n, rng: low_rank(n, 2, rng),
    "rank 2": lambda n, rng: low_rank(n, 1, rng),
    "Bradley-Terry": bradley_terry,
}


def drawn(family, n):
    """Games (B, n, n) with largest entries of 1 or 0, and scales (B) from 1e-6 to 3e5, powers of 2."""
    rng = np.random.default_rng([n, list(FAMILIES).index(family)])
    games = np.stack([FAMILIES[family](n, rng) for _ in range(GAMES)])
    largest = np.abs(games).max((1, 2), keepdims=True)
    return games / np.where(largest > 0, largest, 1), 2.0 ** rng.integers(-20, 19, GAMES)


def solved(games):
    """Probabilities (B, n) and uniqueness (B)."""
    policy, unique = winners.winners(torch.from_numpy(games))
    return policy.numpy(), unique.numpy()


def all_supports(games):
    """True for the actions that some equilibrium plays, (B, n): the largest support in the cone A q <= 0, q >= 0."""
    count, n, _ = games.shape
    rows = sparse.bmat(
        [[sparse.block_diag(list(games)), None], [-sparse.identity(count * n), sparse.identity(count * n)]]
    )
    objective = np.r_[np.zeros(count * n), -np.ones(count * n)]
    bounds = [(0, None)] * (count * n) + [(0, 1)] * (count * n)
    solution = linprog(objective, A_ub=rows, b_ub=np.zeros(2 * count * n), bounds=bounds).x
    return solution[count * n :].reshape(count, n) > 0.5


def extremes(games, rng):
    """Two equilibria (2, B, n) of every game, at the opposite ends of a random direction."""
    count, n, _ = games.shape
    direction = rng.standard_normal(count * n)
    polytope = sparse.block_diag(list(games)), np.zeros(count * n), sparse.block_diag([np.ones((1, n))] * count)
    ends = [linprog(sign * direction, *polytope, np.ones(count), (0, 1), "highs-ds").x for sign in (1, -1)]
    return np.stack(ends).reshape(2, count, n)


@pytest.mark.parametrize("family", FAMILIES)
def test_equilibria_are_exact_and_central_and_certificates_are_true(family):
    for n in SIZES:
        games, scales = drawn(family, n)
        policy, unique = solved(games * scales[:, None, None])
        assert (np.abs(policy.sum(-1) - 1) < 1e-14).all()
        assert ((games @ policy[..., None]).max((1, 2)) < 1e-14).all()
        support = all_supports(games)
        np.testing.assert_array_equal(policy > 0, support)
        ends = extremes(games, np.random.default_rng(n))
        np.testing.assert_array_equal(unique, np.abs(ends[0] - ends[1]).max(-1) < 1e-6)
        centred(games, policy, support, ends)


def centred(games, policy, support, ends):
    """At the analytic centre, for every equilibrium q the sum of q/p in S and of the margins' ratios elsewhere is n."""
    margin = -(games @ policy[..., None])[..., 0]
    ratios = np.where(support, ends / np.where(support, policy, 1), 0.0)
    others = -(games @ ends[..., None])[..., 0] / np.where(support, 1, margin)
    total = (ratios + np.where(support, 0.0, others)).sum(-1)
    np.testing.assert_allclose(total, games.shape[-1], rtol=1e-3)


def test_copies_share_their_probability_equally():
    matrix = np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]])[[0, 1, 2, 2, 2]][:, [0, 1, 2, 2, 2]]
    policy, unique = solved(matrix[None])
    assert not unique[0]
    np.testing.assert_allclose(policy[0], [1 / 3, 1 / 3, 1 / 9, 1 / 9, 1 / 9], rtol=1e-12)


@pytest.mark.parametrize("family", ["uniform", "ties", "copies", "rank 2"])
def test_games_above_the_size_of_batches_are_solved_too(family):
    games = FAMILIES[family](90, np.random.default_rng(0))[None]
    policy, unique = solved(games)
    assert (games @ policy[..., None]).max() < 1e-14 * np.abs(games).max()
    assert ((policy > 0) == all_supports(games)).all()
    assert unique[0] == (family in {"uniform", "ties"})


def test_a_game_keeps_its_bits_whatever_its_neighbours_are():
    games = torch.from_numpy(np.stack([FAMILIES[name](9, np.random.default_rng(1)) for name in FAMILIES]))
    reference = torch.zeros(len(games), 9, dtype=torch.float64).log_softmax(-1)
    together, backwards = (solve(games[order], reference, 0.0).log_policy for order in (slice(None), range(15, -1, -1)))
    assert together.equal(backwards.flip(0))
    for game, policy in zip(games, together, strict=True):
        torch.testing.assert_close(solve(game[None], reference[:1], 0.0).log_policy[0].exp(), policy.exp())


# --- certificates of uniqueness --------------------------------------------------------------------------------------

ROCK = np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]])


def unique_at(matrix, policy):
    return bool(unique_winners(torch.from_numpy(matrix[None]), torch.tensor([policy], dtype=torch.float64))[0])


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e5])
def test_a_policy_beside_the_equilibrium_is_not_certified_unless_it_proves_it(scale):
    assert unique_at(scale * ROCK, [1 / 3, 1 / 3, 1 / 3])
    assert unique_at(scale * ROCK, [0.34, 0.33, 0.33])  # near enough to prove that the equilibrium plays all three
    assert not unique_at(scale * ROCK, [0.8, 0.1, 0.1])
    assert not unique_at(scale * ROCK, [0.5, 0.5, 0.0])


@pytest.mark.parametrize(("loss", "certified"), [(1e-3, True), (1e-12, True), (1e-17, False), (0.0, False)])
def test_an_action_that_hardly_loses_leaves_the_equilibrium_uncertified(loss, certified):
    """A copy of the first throw that loses a little against everything."""
    matrix = skew(np.pad(ROCK, ((0, 1), (0, 1))))
    matrix[3, :3] = ROCK[0] - loss
    matrix[:3, 3] = -matrix[3, :3]
    assert unique_at(matrix, [1 / 3, 1 / 3, 1 / 3, 0]) == certified


# --- where it fails --------------------------------------------------------------------------------------------------


def test_a_linear_programme_replaces_a_failure_and_a_sentence_reports_it(monkeypatch, caplog):
    games = np.stack([FAMILIES["uniform"](20, np.random.default_rng(seed)) for seed in range(3)])
    expected, _ = solved(games)
    monkeypatch.setattr(interior, "ITERATIONS", 2)
    with caplog.at_level(logging.WARNING):
        policy, _ = solved(games)
    assert caplog.messages == [
        "the interior point method did not solve 3 of 3 games at beta=0: linear programmes (HiGHS) replace it there"
    ]
    np.testing.assert_allclose(policy, expected, atol=1e-9)
    monkeypatch.setattr(winners, "linear_programme", lambda _: np.full(20, 1 / 20))
    worse, _ = solved(games)
    assert ((games @ worse[..., None]).max((1, 2)) <= (games @ np.full((20, 1), 1 / 20)).max((1, 2))).all()

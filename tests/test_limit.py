"""The limit of equilibria as beta falls to 0: of all equilibria at beta = 0, the closest to the reference."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

import nlhf
from nlhf.equilibria import limit


def tied(rng, n):
    """A random game with many ties and copies of items."""
    upper = np.triu(rng.choice([0.0, 0.25, 0.5, 0.5, 0.75, 1.0], (n, n)), 1)
    preference = upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2
    copies = rng.integers(n, size=n)
    return preference[np.ix_(copies, copies)] if rng.random() < 0.3 else preference


def corners(advantage):
    """All corners of {q >= 0, sum q = 1, A q <= 0}: every choice of n - 1 constraints that are equations."""
    n = len(advantage)
    rows, found = np.vstack([np.eye(n), advantage]), []
    for chosen in combinations(range(2 * n), n - 1):
        system = np.vstack([rows[list(chosen)], np.ones(n)])
        if abs(np.linalg.det(system)) > 1e-9:
            q = np.linalg.solve(system, np.eye(n)[-1])
            if q.min() > -1e-12 and (advantage @ q).max() < 1e-12 and all(np.abs(q - p).max() > 1e-9 for p in found):
                found.append(np.maximum(q, 0))
    return np.array(found)


def divergence(q, reference):
    return float(np.sum(np.where(q > 0, q * np.log(np.maximum(q, 1e-300) / reference), 0)))


def closest_on_segment(ends, reference):
    """The point between two ends with the smallest KL divergence to the reference, by a root of the derivative."""
    first, second = ends
    moving = np.abs(second - first) > 1e-9

    def slope(t):
        q = (1 - t) * first + t * second
        return ((second - first)[moving] * np.log((q / reference)[moving])).sum()

    if slope(1e-300) >= 0:
        return first
    if slope(1 - 1e-16) <= 0:
        return second
    t = brentq(slope, 1e-300, 1 - 1e-16, xtol=1e-16, rtol=1e-15)
    return (1 - t) * first + t * second


def solved(preference, reference):
    return np.exp(nlhf.equilibrium(preference, 0.0, reference).log_policy)


def test_between_two_corners_it_is_the_root_of_the_derivative():
    rng, kinds = np.random.default_rng(0), []
    while len(kinds) < 60:
        preference = tied(rng, int(rng.integers(2, 6)))
        ends = corners((preference - preference.T) / 2)
        if len(ends) != 2:
            continue
        reference = (
            rng.dirichlet(np.ones(len(preference)))
            if rng.random() < 0.7
            else np.full(len(preference), 1 / len(preference))
        )
        expected = closest_on_segment(ends, reference)
        assert solved(preference, reference) == pytest.approx(expected, abs=1e-9)
        kinds.append(bool(np.abs(expected - ends).max(1).min() < 1e-12))
    assert {True, False} <= set(kinds)  # at an end, and between


def test_no_corner_lies_in_the_direction_of_descent():
    """A convex function is smallest where its derivative towards every corner is >= 0."""
    rng, several = np.random.default_rng(1), 0
    for _ in range(60):
        preference = tied(rng, int(rng.integers(3, 6)))
        n = len(preference)
        ends, reference = corners((preference - preference.T) / 2), rng.dirichlet(np.full(n, 2.0))
        policy = solved(preference, reference)
        played = ends.max(0) > 0
        assert (policy[~played] == 0).all()
        assert policy[played].min() > 0
        derivative = np.log(policy[played] / reference[played])
        assert ((ends - policy)[:, played] @ derivative).min() > -1e-9
        assert nlhf.exploitability(preference, np.log(np.maximum(policy, 1e-300)), 0.0) < 1e-13
        several += len(ends) > 2
    assert several > 10


@pytest.mark.parametrize("seed", range(6))
def test_equilibria_of_small_beta_tend_to_it(seed):
    rng = np.random.default_rng(seed)
    preference = tied(rng, 6)
    while nlhf.equilibrium(preference, 0.0).unique:
        preference = tied(rng, 6)
    reference = rng.dirichlet(np.ones(6))
    closest = solved(preference, reference)
    errors = []
    for beta in (1e-3, 1e-5, 1e-7):
        policy = np.exp(nlhf.equilibrium(preference, beta, reference).log_policy)
        assert divergence(closest, reference) >= divergence(policy, reference) - 1e-9  # as the proof says
        errors.append(np.abs(policy - closest).max())
    assert errors[2] < 1e-4
    assert errors[2] <= errors[0] + 1e-12


@pytest.mark.parametrize(
    ("beats", "n", "expected"),
    [
        ([(0, 2), (1, 2)], 3, [1 / 2, 1 / 2, 0]),
        ([], 4, [1 / 4] * 4),
        ([(0, 1), (1, 2), (2, 3), (3, 0)], 4, [1 / 4] * 4),
        ([(0, 1), (1, 2), (2, 0)], 4, [1 / 4] * 4),  # a cycle, and an item that is even with all
    ],
)
def test_by_hand(beats, n, expected):
    preference = np.full((n, n), 0.5)
    for i, j in beats:
        preference[i, j], preference[j, i] = 1.0, 0.0
    result = nlhf.equilibrium(preference, 0.0)
    assert np.exp(result.log_policy) == pytest.approx(expected, abs=1e-12)
    assert not result.unique


def test_where_the_equilibrium_is_unique_the_reference_changes_nothing():
    preference = np.array([[0.5, 0.1, 0.8], [0.9, 0.5, 0.3], [0.2, 0.7, 0.5]])
    first, second = (nlhf.equilibrium(preference, 0.0, reference) for reference in (None, [1, 2, 5]))
    assert first.unique
    np.testing.assert_array_equal(first.log_policy, second.log_policy)


def test_contexts_are_solved_apart():
    cycle, ties = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]]), np.full((3, 3), 0.5)
    result = nlhf.equilibrium(np.stack([cycle, ties]), 0.0, [0.2, 0.3, 0.5])
    assert np.exp(result.log_policy) == pytest.approx(np.array([[1 / 3] * 3, [0.2, 0.3, 0.5]]))
    assert not result.unique


def test_a_large_game_with_many_equilibria_is_solved_to_rounding():
    n = 60
    angle = np.arange(n)
    ahead = (angle[:, None] - angle) % n
    preference = np.where(2 * ahead < n, 1.0, 0.0)
    preference[(ahead == 0) | (2 * ahead == n)] = 0.5
    reference = np.random.default_rng(0).dirichlet(np.ones(n))
    policy = solved(preference, reference)
    advantage = preference - 0.5
    assert (advantage @ policy).max() < 1e-14
    derivative = np.log(policy / reference)
    corner = linprog(derivative, advantage, np.zeros(n), np.ones((1, n)), [1.0], (0, 1))
    assert derivative @ policy - corner.fun < 1e-6


def test_attempts_after_few_barriers_end_where_those_after_all_do(monkeypatch):
    """The closest equilibrium is unique and signs prove it, so an early attempt can only save time."""
    rng, centred, games = np.random.default_rng(7), [], []
    for _ in range(40):
        n = int(rng.integers(3, 9))
        games.append((tied(rng, n), rng.dirichlet(np.full(n, 2.0))))
    centre = limit._centre
    monkeypatch.setattr(limit, "_centre", lambda *args: (centred.append(args[2]), centre(*args))[1])
    early = [solved(*game) for game in games]
    number = len(centred)
    monkeypatch.setattr(limit, "ATTEMPTS", len(limit.BARRIERS))
    for game, policy in zip(games, early, strict=True):
        np.testing.assert_allclose(solved(*game), policy, rtol=0, atol=1e-13)
    assert 2 * number < len(centred) - number


def of_few_votes(seed):
    """A game of ten to twenty items with five votes for each item, and 1/2 for pairs without a vote."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(10, 21))
    wins = np.zeros((n, n))
    for _ in range(5 * n):
        a, b = rng.choice(n, 2, replace=False)
        won = rng.choice([0, 1, 0.5])
        wins[a, b], wins[b, a] = wins[a, b] + won, wins[b, a] + 1 - won
    votes = wins + wins.T
    return np.where(votes > 0, wins / np.maximum(votes, 1), 0.5)


@pytest.mark.parametrize("seed", [92, 96, 219])
def test_active_constraints_that_contradict_each_other_prove_nothing(seed):
    """Here the margins that are small after few barriers cannot all be 0; no equilibrium is closer to uniform."""
    preference = of_few_votes(seed)
    n, advantage = len(preference), (preference - preference.T) / 2
    policy = solved(preference, np.full(n, 1 / n))
    played = policy > 0
    derivative = np.where(played, np.log(np.where(played, policy, 1) * n), 0)
    bounds = [(0, 1 if used else 0) for used in played]
    corner = linprog(derivative, advantage, np.zeros(n), np.ones((1, n)), [1.0], bounds)
    assert derivative @ policy - corner.fun < 1e-6

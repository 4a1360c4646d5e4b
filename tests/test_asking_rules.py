"""The rules that the laboratory compares: what each asks, by an independent computation."""

from __future__ import annotations

import numpy as np
import pytest

from nlhf.asking.bradley_terry import BradleyTerryRule
from nlhf.asking.certified import CERTIFIED
from nlhf.asking.log_barrier import LogBarrierRule, barrier_equilibrium
from nlhf.asking.thompson import ThompsonRule
from nlhf.asking.uniform import UniformRule
from nlhf.config import ConfigError
from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid

RULES = {
    "certified": CERTIFIED,
    "uniform": UniformRule(),
    "bradley_terry": BradleyTerryRule(prior=1.0),
    "thompson": ThompsonRule(alpha=0.51),
    "log_barrier": LogBarrierRule(barrier=0.3),
}


def counted(n, most, seed=0):
    """Wins and numbers of votes on the pairs of n items; some pairs have none."""
    rng = np.random.default_rng(seed)
    numbers = np.triu(rng.integers(0, most, (n, n)), 1)
    won = rng.binomial(numbers, rng.random((n, n)))
    return (won + (numbers - won).T).astype(float), (numbers + numbers.T).astype(float)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("batch", [1, 20, 333])
@pytest.mark.parametrize("most", [1, 3, 300])
def test_the_votes_of_a_batch_lie_above_the_diagonal_and_add_up(name, batch, most):
    for n in (2, 3, 7):
        numbers = RULES[name].numbers(*counted(n, most), batch, np.random.default_rng(1))
        assert numbers.shape == (n, n)
        assert numbers.dtype.kind == "i"
        assert numbers.min() >= 0
        assert not np.tril(numbers).any()
        assert numbers.sum() == batch


@pytest.mark.parametrize("name", RULES)
def test_a_rule_with_the_same_random_numbers_asks_the_same(name):
    first, second = (RULES[name].numbers(*counted(5, 30), 50, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_bradley_terry_uncertainty_maximises_the_determinant_of_the_information():
    n, prior = 5, 0.7
    wins, votes = counted(n, 9)
    scores = likelihood_scores(wins, prior)
    likely = sigmoid(scores[:, None] - scores)

    def log_determinant(numbers):
        precision = prior * np.eye(n)
        for i in range(n):
            for j in range(i):
                e = np.eye(n)[i] - np.eye(n)[j]
                precision += numbers[i, j] * likely[i, j] * likely[j, i] * np.outer(e, e)
        return np.linalg.slogdet(precision)[1]

    expected = votes.copy()
    for _ in range(6):
        options = []
        for i in range(n):
            for j in range(i):
                more = expected.copy()
                more[i, j] += 1
                more[j, i] += 1
                options.append((log_determinant(more), i, j))
        _, i, j = max(options)
        expected[i, j] += 1
        expected[j, i] += 1
    numbers = BradleyTerryRule(prior).numbers(wins, votes, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(votes + numbers + numbers.T, expected)


@pytest.mark.parametrize("n", [2, 3, 8, 30])
@pytest.mark.parametrize("barrier", [1.0, 0.1, 1e-3, 1e-6])
def test_the_log_barrier_equilibrium_solves_its_equation(n, barrier):
    upper = np.triu(np.random.default_rng(n).random((n, n)) - 0.5, 1)
    advantage = upper - upper.T
    p = barrier_equilibrium(advantage, barrier)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(p * (n * barrier - advantage @ p), barrier, rtol=1e-5)


def test_the_log_barrier_equilibrium_of_no_game_is_uniform():
    np.testing.assert_allclose(barrier_equilibrium(np.zeros((4, 4)), 0.1), 0.25)


def test_log_barrier_play_draws_both_items_from_the_equilibrium():
    wins, votes = counted(4, 300)
    shares = np.divide(wins, votes, out=np.full((4, 4), 0.5), where=votes > 0)
    p = barrier_equilibrium(shares - 0.5, 0.3 / np.sqrt(votes.sum() / 2))
    expected = np.triu(np.outer(p, p), 1)
    numbers = LogBarrierRule(barrier=0.3).numbers(wins, votes, 100_000, np.random.default_rng(0))
    np.testing.assert_allclose(numbers / 100_000, expected / expected.sum(), atol=0.006)


def test_thompson_sampling_asks_about_the_winner_and_its_closest_rival():
    """Item 2 beats all others for sure, and item 0 comes closest to it; all other pairs are settled."""
    preference = np.array([[0.5, 0.9, 0.45, 0.9], [0.1, 0.5, 0.1, 0.9], [0.55, 0.9, 0.5, 0.9], [0.1, 0.1, 0.1, 0.5]])
    votes = 2000.0 * (1 - np.eye(4))
    numbers = ThompsonRule(alpha=0.51).numbers(preference * votes, votes, 400, np.random.default_rng(0))
    assert numbers[0, 2] == 400


def test_thompson_sampling_leaves_out_second_items_that_surely_beat_the_first():
    """All beat item 3, so a first item is never 3; in a cycle the second is the item that the first beats."""
    cycle = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])
    votes = 1000.0 * (1 - np.eye(3))
    numbers = ThompsonRule(alpha=0.51).numbers(cycle * votes, votes, 300, np.random.default_rng(0))
    assert min(numbers[0, 1], numbers[0, 2], numbers[1, 2]) > 60  # ties between first items are broken at random


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        (lambda: BradleyTerryRule(prior=0.0), "algorithm.rule.prior=0.0"),
        (lambda: ThompsonRule(alpha=-1.0), "algorithm.rule.alpha=-1.0"),
        (lambda: LogBarrierRule(barrier=0.0), "algorithm.rule.barrier=0.0"),
    ],
)
def test_a_constant_out_of_range_is_refused_in_a_sentence(rule, key):
    with pytest.raises(ConfigError, match=f"^{key} is out of range: give a positive number such as .*\\.$"):
        rule()

"""Payoffs: skew-symmetry, Smith consistency, the scaling by 2M, and what they play on known games."""

from __future__ import annotations

import numpy as np
import pytest

import nlhf
from nlhf.config import ConfigError
from nlhf.games.payoff import Payoff
from nlhf.stats.smith import smith_set

NAMES = ("linear", "logit", "sign")


def random_game(rng, n=6):
    upper = np.triu(rng.random((n, n)), 1)
    return upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2


@pytest.mark.parametrize("name", NAMES)
def test_payoffs_are_skew_symmetric_to_the_bit_and_below_their_unit(name):
    rng, payoff = np.random.default_rng(0), Payoff(name)
    for _ in range(20):
        preference = random_game(rng)
        preference[0, 1], preference[1, 0] = 1.0, 0.0
        advantage = (preference - preference.T) / 2
        table = payoff(advantage)
        np.testing.assert_array_equal(table, -table.T)
        assert 2 * np.abs(table).max() <= payoff.unit
        np.testing.assert_array_equal(payoff.scaled(advantage), table / payoff.unit)
        assert np.abs(payoff.scaled(advantage)).max() <= 0.5


def test_the_payoffs_by_hand():
    advantage = np.array([0.0, 0.3, -0.3, 0.5, -0.5, 1e-9])
    assert Payoff("linear")(advantage) is advantage
    assert Payoff("sign")(advantage).tolist() == [0, 0.5, -0.5, 0.5, -0.5, 0.5]
    logit = np.log(4), -np.log(4), np.log(9), -np.log(9), 4e-9
    assert Payoff("logit", 0.1)(advantage) == pytest.approx([0, *logit], rel=1e-12)
    assert Payoff("logit", 0.1).unit == pytest.approx(2 * np.log(9))


@pytest.mark.parametrize(
    ("options", "message"),
    [(("mean",), "payoff=mean"), (("logit", 0.0), "clip=0.0"), (("logit", 0.5), "clip=0.5")],
)
def test_invalid_payoffs_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Payoff(*options)


def test_no_payoff_plays_an_item_outside_the_smith_set_or_misses_a_condorcet_winner():
    rng, sizes = np.random.default_rng(0), []
    games = np.array([random_game(rng) for _ in range(400)])
    policies = {name: np.exp(nlhf.equilibrium(games, 0.0, payoff=name).log_policy) for name in NAMES}
    for k, game in enumerate(games):
        smith = smith_set(game)
        sizes.append(len(smith))
        for name in NAMES:
            assert policies[name][k][smith].sum() > 1 - 1e-9
    assert {1, 3, 6} <= set(sizes)


def test_the_equilibrium_of_log_odds_on_a_bradley_terry_game_maximises_reward():
    rng, beta = np.random.default_rng(0), 0.3
    rewards, reference = rng.normal(size=8), rng.dirichlet(np.ones(8))
    preference = 1 / (1 + np.exp(rewards - rewards[:, None]))
    expected = np.log(reference) + rewards / beta
    expected -= np.logaddexp.reduce(expected)
    result = nlhf.equilibrium(preference, beta, reference, payoff="logit", clip=1e-4)
    assert result.certified
    assert result.log_policy == pytest.approx(expected, abs=1e-11)
    linear = nlhf.equilibrium(preference, beta, reference)
    assert np.abs(linear.log_policy - expected).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_exploitability_is_in_units_of_the_payoff(name, beta):
    """Against the definition: the best response to a policy and its payoff, less the KL terms."""
    rng = np.random.default_rng(2)
    preference, policy, reference = random_game(rng, 4), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
    gain = Payoff(name)((preference - preference.T) / 2) @ policy
    if beta:
        best = beta * np.log(reference @ np.exp(gain / beta)) + beta * (policy @ np.log(policy / reference))
    else:
        best = gain.max()
    measured = nlhf.exploitability(preference, np.log(policy), beta, reference, payoff=name)
    assert measured == pytest.approx(best, rel=1e-9)
    assert nlhf.equilibrium(preference, beta, reference, payoff=name).exploitability < 1e-11


def test_majorities_of_a_cycle_are_played_alike():
    preference = np.array([[0.5, 0.6, 0.1], [0.4, 0.5, 0.9], [0.9, 0.1, 0.5]])
    result = nlhf.equilibrium(preference, 0.0, payoff="sign")
    assert np.exp(result.log_policy) == pytest.approx(np.full(3, 1 / 3))

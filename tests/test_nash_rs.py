"""Nash-RS: its steps, its count of calls, and the cost of rejection sampling at the equilibrium."""

from __future__ import annotations

import numpy as np
import pytest

from nlhf.algorithms.nash_rs import NashRS
from nlhf.config import ConfigError
from nlhf.numerics import simplex
from nlhf.runner.specification import specify
from tests.adversarial import FAMILIES, arena
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")
B1, B2, RESPONSES = 3, 5, 2
ALGORITHM = NashRS("theory", policy_samples=B1, opponents=B2, responses=RESPONSES)


def table(family, beta):
    """A game, P and the reference in numpy."""
    games = arena(family, 6, (beta,), (1.0,))
    return games, games.game.dense()[0, 0].numpy() + 0.5, games.log_reference[0, 0].exp().numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_iteration_by_hand(family):
    beta = 0.2
    games, preference, reference = table(family, beta)
    policy, calls = reference, 0.0
    for state, _ in games.states(ALGORITHM, 5):
        np.testing.assert_allclose(state.policy.probabilities[0, 0].numpy(), policy, rtol=1e-10)
        assert state.calls.item() == pytest.approx(calls, rel=1e-10)
        weights = reference * np.exp(-(policy @ preference) / beta)
        calls += B2 * (B1 / weights.sum() + RESPONSES)
        gains, step = preference @ (weights / weights.sum()), 4 * beta
        policy = policy * reference ** (step * beta) * np.exp(step * gains)
        policy = policy ** (1 / (1 + step * beta))
        policy /= policy.sum()


def test_the_rejection_sampler_of_the_authors_draws_the_best_response_and_takes_the_counted_proposals():
    """Written from their description: a reference proposal passes if u <= exp(-P(pi > y)/beta)."""
    beta, rng = 0.2, np.random.default_rng(0)
    games, preference, reference = table("uniform", beta)
    policy = games.log_equilibrium[0, 0].exp().numpy()
    proposals = rng.choice(len(reference), size=400_000, p=reference)
    accepted = proposals[rng.random(len(proposals)) <= np.exp(-(policy @ preference)[proposals] / beta)]
    shares = np.bincount(accepted, minlength=len(reference)) / len(accepted)
    np.testing.assert_allclose(shares, policy, atol=0.01)  # an equilibrium is its own best response
    *_, (state, _) = games.states(ALGORITHM, 1, start=games.log_equilibrium)
    per_opponent = (state.calls.item() / B2 - RESPONSES) / B1
    assert per_opponent == pytest.approx(len(proposals) / len(accepted), rel=0.02)


@pytest.mark.parametrize("beta", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_opponent_at_the_equilibrium_takes_a_number_of_proposals_in_closed_form(family, beta):
    games, _, _ = table(family, beta)
    *_, (state, _) = games.states(ALGORITHM, 1, start=games.log_equilibrium)
    per_opponent = (state.calls.item() / B2 - RESPONSES) / B1
    distance = simplex.kl(games.log_equilibrium, games.log_reference).item()
    assert per_opponent == pytest.approx(np.exp(1 / (2 * beta) + distance), rel=1e-6)


def test_it_takes_twice_the_queries_of_mirror_descent_for_the_same_guarantee():
    games, _, _ = table("uniform", 0.3)
    queries = [asked for _, asked in games.states(ALGORITHM, 3)]
    assert queries == [0, 2, 4, 6]


@pytest.mark.parametrize("key", ["policy_samples", "opponents", "responses"])
def test_a_number_below_one_is_refused(key):
    with pytest.raises(ConfigError, match=rf"algorithm\.{key}=0 is too small: give 1 or more\."):
        specify(configured("algorithm=nash_rs", f"algorithm.{key}=0"))


def test_beta_zero_is_refused():
    with pytest.raises(ConfigError, match="beta=0 leaves Nash-RS without"):
        specify(configured("algorithm=nash_rs", "beta=0"))

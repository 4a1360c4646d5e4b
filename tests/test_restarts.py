"""Restarts at beta = 0: the numbers of queries, the averages' answers, exact zeros and the Euclidean projection."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import nlhf
from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.restarted_gradient import RestartedGradient
from nlhf.config import ConfigError
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from tests.adversarial import Arena, matrix_game, uniform

pytestmark = pytest.mark.usefixtures("one_thread")
TARGETS = (1e-2, 1e-4, 1e-8, 1e-12)
GRADIENT = partial(RestartedGradient, 1.0, grow=1.2, shrink=0.5)
ADAPTIVE = partial(Adaptive, "theory", optimistic=True, grow=1.2, shrink=0.5)
ROCK_PAPER_SCISSORS = 0.5 + np.array([[0, -1, 3], [1, 0, -1], [-3, 1, 0]]) / 6
EQUILIBRIUM = torch.tensor([0.2, 0.6, 0.2], dtype=torch.float64)  # its kernel: A pi = 0


def unregularised(preference):
    """The batch of games P (S, n, n) at beta = 0 with the uniform reference."""
    seeds, n, _ = preference.shape
    log_reference = torch.full((seeds, 1, n), 1 / n, dtype=torch.float64).log()
    return Arena(matrix_game(preference[:, None]), log_reference, (0.0,) * seeds)


def tournaments(seeds, n):
    return unregularised(np.stack([uniform(n, np.random.default_rng(seed)) for seed in range(seeds)]))


def rock_paper_scissors():
    return unregularised(ROCK_PAPER_SCISSORS[None])


def median_queries(games, algorithm, targets, limit):
    """The median over seeds of the queries until the exploitability is at most each target; inf above the limit."""
    prox, bound = games.prox(), algorithm.bind(games.beta)
    state = bound.init(TabularPolicy(games.log_reference))
    needed = np.full((len(games.strengths), len(targets)), np.inf)
    while np.isinf(np.median(needed, 0)).any() and prox.queries.max() < limit:
        state = bound.update(state, prox)
        reached = games.exploitability(state.policy.log_probabilities).numpy() <= np.array(targets)
        needed = np.where(reached, np.minimum(needed, prox.queries[:, None]), needed)
    return np.median(needed, 0)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_gradient_steps_with_restarts_converge_linearly():
    """A table of 20 other tournaments of 50 actions has 36, 668, 3183 and 5507 queries; these games need fewer."""
    needed = median_queries(tournaments(20, 50), GRADIENT(restart=0.1), TARGETS, 5507 * 1.5)
    assert (needed <= 1.5 * np.array([36, 668, 3183, 5507])).all()
    assert needed == pytest.approx([36, 436, 1424, 2300], rel=0.5)


@pytest.mark.parametrize(
    "targets", [TARGETS[:2], pytest.param(TARGETS, marks=pytest.mark.long)], ids=["coarse", "fine"]
)
def test_optimistic_steps_with_restarts_converge_linearly(targets):
    needed = median_queries(tournaments(20, 50), ADAPTIVE(restart=0.3), targets, 25_000)
    assert needed == pytest.approx([58, 2004, 7731, 14133][: len(targets)], rel=0.5)


def test_optimistic_steps_without_restarts_need_many_more_queries():
    games = tournaments(20, 50)
    assert median_queries(games, ADAPTIVE(), [1e-2], 1000) == pytest.approx(91, rel=0.5)
    assert median_queries(games, ADAPTIVE(), [1e-4], 4000) == np.inf  # restarts: 1561
    assert median_queries(games, Optimistic("theory"), [1e-2], 3000) == pytest.approx(2097, rel=0.5)


@pytest.mark.parametrize(
    ("algorithm", "queries"), [(GRADIENT(restart=0.1), 225), (Optimistic("theory", restart=0.3), 610)]
)
def test_biased_rock_paper_scissors(algorithm, queries):
    assert median_queries(rock_paper_scissors(), algorithm, [1e-12], 2000) == pytest.approx(queries, rel=0.1)


def test_restarts_go_on_to_the_rounding_of_the_answers():
    needed = median_queries(tournaments(20, 8), GRADIENT(restart=0.1), [1e-15], 4000)
    assert np.isfinite(needed).all()


# --- what a restart does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [GRADIENT(restart=0.1), ADAPTIVE(restart=0.3), Optimistic("theory", restart=0.3)])
def test_the_average_costs_no_query_and_its_answer_is_that_of_the_game(algorithm):
    games = tournaments(3, 7)
    prox, bound, averages = games.prox(), algorithm.bind(games.beta), []
    record = prox.record_answer
    prox.record_answer = lambda policy, answer: (averages.append((policy, answer)), record(policy, answer))
    state = bound.init(TabularPolicy(games.log_reference))
    iterations = 300
    for _ in range(iterations):
        state = bound.update(state, prox)
    assert (prox.queries <= iterations + 1).all()
    assert len(averages) > 5
    for policy, answer in averages:
        exact = games.game.payoff(policy.probabilities)
        finite = policy.log_probabilities.isfinite().any(-1, keepdim=True)  # an average of no half step has no value
        assert ((answer - exact).abs() <= 1e-15).logical_or(~finite).all()


@pytest.mark.parametrize("algorithm", [GRADIENT(restart=0.1), ADAPTIVE(restart=0.3)])
def test_contexts_and_seeds_restart_independently(algorithm):
    preference = np.stack([uniform(5, np.random.default_rng(draw)) for draw in range(4)])
    together = unregularised(preference).policies(algorithm, 150)[-1]
    uniform_reference = torch.full((1, 4, 5), 0.2, dtype=torch.float64).log()
    contexts = Arena(matrix_game(preference[None]), uniform_reference, (0.0,)).policies(algorithm, 150)[-1]
    assert torch.equal(contexts[0].exp(), together[:, 0].exp())
    for draw, policy in enumerate(together):
        alone = unregularised(preference[draw : draw + 1]).policies(algorithm, 150)[-1]
        torch.testing.assert_close(alone[0].exp(), policy.exp(), rtol=0, atol=1e-9)


def test_between_restarts_the_distance_to_the_equilibrium_plus_the_error_never_rises():
    games, before = rock_paper_scissors(), np.inf
    for state, _ in games.states(GRADIENT(restart=None), 200):
        distance = (state.policy.probabilities - EQUILIBRIUM).square().sum() + state.error.sum()
        assert distance <= before * (1 + 1e-12)
        before = distance


def test_gradient_steps_by_hand():
    """Two accepted steps in numpy, where no action leaves the support."""
    A, x, previous = ROCK_PAPER_SCISSORS - 0.5, np.full(3, 1 / 3), np.full(3, 1 / 3)

    def centred(gain):
        return gain - gain.mean()

    step = 0.1
    for _ in range(2):
        half = x + step * centred(A @ previous)
        x, previous, step = x + step * centred(A @ half), half, step * 1.2
    algorithm = RestartedGradient(0.1, grow=1.2, shrink=0.5, restart=None)
    *_, (state, queries) = rock_paper_scissors().states(algorithm, 2)
    np.testing.assert_allclose(state.policy.probabilities[0, 0].numpy(), x, rtol=1e-14)
    assert queries == 3  # the first step also asks about the first policy


@pytest.mark.parametrize("restart", [0, 1, -0.3, 2])
def test_a_fraction_outside_its_range_is_refused(restart):
    with pytest.raises(ConfigError, match=rf"algorithm.restart={restart} is outside \(0, 1\)"):
        Optimistic("theory", restart=restart)


@pytest.mark.parametrize("algorithm", [ADAPTIVE(restart=0.3), Optimistic("theory", restart=0.3)])
def test_restarts_are_refused_with_a_kl_term(algorithm):
    with pytest.raises(ConfigError, match=r"restart=0\.3 is for beta=0"):
        algorithm.check(0.05)
    algorithm.check(0.0)


def test_restarts_promise_no_bound():
    games = rock_paper_scissors()
    for algorithm in (ADAPTIVE(restart=0.3), Optimistic("theory", restart=0.3)):
        bound = algorithm.bind(games.beta)
        state = bound.init(TabularPolicy(games.log_reference))
        assert bound.kl_bound(state, games.beta, games.beta, games.beta + 1).isnan().all()


# --- exact zeros ------------------------------------------------------------------------------------------------------


def test_an_action_outside_the_support_has_log_probability_minus_infinity(tmp_path):
    """The run's rows stay finite except for KL(pi* || pi), which is inf while the support lacks an action of pi*."""
    result = nlhf.run(
        overrides=["game=random_tournament", "game.actions=30", "algorithm=restarted_gradient", "beta=0", "seeds=3",
                   "budget.queries=400", "budget.target=null", "log_policy=true", f"runs_dir={tmp_path}"]
    )  # fmt: skip
    rows = result.metrics
    for name in ("exploitability", "average_exploitability", "entropy", "kl_to_reference", "win_rate_vs_reference"):
        assert np.isfinite(rows[name]).all(), name
    assert not rows["kl_to_equilibrium"].isna().any()
    assert (rows["kl_to_equilibrium"] >= 0).all()
    policies = pd.read_csv(next(tmp_path.rglob("policies.csv")))
    last = policies[policies["iteration"] == policies["iteration"].max()]
    mass = last["log_probability"].map(np.exp).groupby(last["seed"])
    np.testing.assert_allclose(mass.sum(), 1, atol=1e-14)
    assert (mass.apply(lambda p: (p == 0).sum()) >= 10).all()


# --- the projection ---------------------------------------------------------------------------------------------------


def test_the_projection_is_the_nearest_distribution():
    """Against bisection on the shift, and by its optimality condition."""
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(200, 9)) * 10.0 ** rng.integers(-6, 4, (200, 1)))
    nearest = simplex.projection(values)
    torch.testing.assert_close(nearest.sum(-1), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (nearest >= 0).all()
    low, high = values.amax(-1, keepdim=True) - 1, values.amax(-1, keepdim=True)
    for _ in range(200):
        middle = (low + high) / 2
        above = (values - middle).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = middle.where(above, low), high.where(above, middle)
    torch.testing.assert_close(nearest, (values - high).clamp(min=0), rtol=0, atol=1e-11)
    corners = torch.eye(9, dtype=torch.float64)
    inside = ((values - nearest)[:, None] * (corners - nearest[:, None])).sum(-1)
    assert (inside <= 1e-9 * (1 + values.abs().amax(-1, keepdim=True))).all(), "an obtuse angle to every corner"


def test_the_projection_of_a_distribution_is_itself():
    rng = np.random.default_rng(1)
    policy = torch.from_numpy(rng.dirichlet(np.ones(6), 50))
    torch.testing.assert_close(simplex.projection(policy), policy, rtol=0, atol=1e-15)
